import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface Fault {
  /** Paths it applies to; default: all. */
  readonly path?: RegExp;
  readonly delayMs?: number;
  /** The request is not processed before this settles. */
  readonly hold?: Promise<unknown>;
  /** `reset` closes the connection; an object is sent as the response; default: the server handles the request. */
  readonly response?:
    | 'reset'
    | {
        readonly status: number;
        readonly headers?: Record<string, string | string[]>;
        readonly body?: string;
      };
}

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly at: number;
}

export interface Faults {
  /** Every request received, with or without a fault. */
  readonly requests: ReceivedRequest[];
  count(path: RegExp): number;
  set(fault: Fault | undefined): void;
}

/** Lets a test delay, replace or reset the responses of a running server. */
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
