import type { Server } from 'node:http';
import type { Logger } from '../logger.ts';

/** The address to listen on, and the settings that name it. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  readonly hostVariable: string;
  readonly portVariable: string;
}

/** A server cannot listen; the message is for the operator and names the setting to change. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/**
 * Settles when the server accepts connections. Later errors, such as too many open files, are logged.
 * @throws ListenError
 */
export async function listen(server: Server, address: ListenAddress, log: Logger): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new ListenError(explain(error, address), { cause: error })));
    server.listen(address.port, address.host, resolve);
  });
  server.removeAllListeners('error').on('error', (error) => {
    log.error({ err: error }, 'cannot accept a connection');
  });
}

function explain(
  error: NodeJS.ErrnoException,
  { host, port, hostVariable, portVariable }: ListenAddress,
): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} is already in use. Set ${portVariable} to a different port.`;
    case 'EACCES':
      return `Port ${port} may not be used by this user (${error.message}). Set ${portVariable} to a port above 1023.`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
      return `Cannot listen on ${host}:${port}: ${hostVariable} is not an address of this machine (${error.message}). Set ${hostVariable} to 127.0.0.1, or to 0.0.0.0 in a container; conda and tcsh set HOST on their own.`;
    default:
      return `Cannot listen on ${host}:${port} (${hostVariable} and ${portVariable}): ${error.message}`;
  }
}
