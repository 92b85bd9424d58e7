interface Abortable {
  abort(reason: Error): void;
}

/** Ends a call to an API, whichever of its attempts is in progress. An `AbortController` costs ten times as much. */
export class CallAbort {
  #reason: Error | undefined;
  #exchange: Abortable | undefined;

  get reason(): Error | undefined {
    return this.#reason;
  }

  get aborted(): boolean {
    return this.#reason !== undefined;
  }

  /** Without effect after the response has ended. */
  abort(reason: Error): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#exchange?.abort(reason);
  }

  /** Makes `abort` end `exchange`, and no earlier one. */
  follow(exchange: Abortable): void {
    this.#exchange = exchange;
    if (this.#reason) exchange.abort(this.#reason);
  }
}
