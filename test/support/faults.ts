import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface Fault {
  /** Paths it befalls; all unless told. */
  readonly path?: RegExp;
  readonly delayMs?: number;
  /** Waits for this before anything else happens. */
  readonly hold?: Promise<unknown>;
  /** `reset` closes the connection; an object is the answer; absent, the request goes on as usual. */
  readonly response?:
    | 'reset'
    | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };
}

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly at: number;
}

export interface Faults {
  /** Every request that arrived, faulty or not. */
  readonly requests: ReceivedRequest[];
  count(path: RegExp): number;
  set(fault: Fault | undefined): void;
}

/** Puts a switch in front of a running server, which itself stays as it is. */
export function injectFaults(server: Server): Faults {
  const listeners = server.listeners('request') as ((req: IncomingMessage, res: ServerResponse) => void)[];
  server.removeAllListeners('request');
  const requests: ReceivedRequest[] = [];
  let fault: Fault | undefined;

  server.on('request', async (req: IncomingMessage, res: ServerResponse) => {
    const path = (req.url ?? '').split('?')[0]!;
    requests.push({ method: req.method ?? '', path, at: Date.now() });
    const current = fault?.path && !fault.path.test(path) ? undefined : fault;
    await current?.hold;
    if (current?.delayMs) await delay(current.delayMs);
    if (current?.response === 'reset') req.socket.destroy();
    else if (current?.response) {
      const { status, headers, body } = current.response;
      req.resume();
      res.writeHead(status, headers).end(body);
    } else for (const listener of listeners) listener(req, res);
  });

  return {
    requests,
    count: (path) => requests.filter((each) => path.test(each.path)).length,
    set(next) {
      fault = next;
    },
  };
}
