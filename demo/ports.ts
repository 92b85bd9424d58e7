import { connect } from 'node:net';

/** A problem of the environment that the user can fix; the message is a single line for the terminal. */
export class SetupError extends Error {}

/** A port, and the environment variable that sets it. */
export interface PortSetting {
  readonly variable: string;
  readonly port: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const loopbackHosts = ['127.0.0.1', '::1'];
const connectTimeoutMs = 500;

/** The port in the variable, or the default; throws `SetupError` when invalid. 0, any free port, requires `min` 0. */
export function readPort(
  env: Environment,
  variable: string,
  defaultPort: number,
  min: 0 | 1 = 1,
): PortSetting {
  const value = env[variable]?.trim() || String(defaultPort);
  const port = /^\d{1,5}$/.test(value) ? Number(value) : -1;
  if (port < min || port > 65_535) {
    throw new SetupError(`${variable} must be a port number from ${min} to 65535.`);
  }
  return { variable, port };
}

function acceptsConnections(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: connectTimeoutMs });
    const settle = (isConnected: boolean) => {
      socket.destroy();
      resolve(isConnected);
    };
    socket.once('connect', () => settle(true));
    socket.once('timeout', () => settle(false));
    socket.once('error', () => settle(false));
  });
}

function createPortInUseError({ variable, port }: PortSetting, command: string): SetupError {
  const alternative = port + 100 <= 65_535 ? port + 100 : port - 100;
  return new SetupError(
    `Port ${port} is already in use. Set ${variable} to another port, e.g. ${variable}=${alternative} ${command}`,
  );
}

/**
 * Throws `SetupError` when a server on this machine accepts connections on the port. Connecting is more reliable than
 * trying to listen: some systems allow listening on 127.0.0.1 while another process listens on all addresses, and a
 * browser may prefer ::1.
 */
export async function requireFreePort(setting: PortSetting, command: string): Promise<void> {
  if (setting.port === 0) return;
  const accepted = await Promise.all(loopbackHosts.map((host) => acceptsConnections(host, setting.port)));
  if (accepted.includes(true)) throw createPortInUseError(setting, command);
}

/** Returns what `start` returns; throws `SetupError` when the port is in use or requires elevated privileges. */
export async function startOnPort<T>(
  setting: PortSetting,
  command: string,
  start: (port: number) => Promise<T>,
): Promise<T> {
  await requireFreePort(setting, command);
  try {
    return await start(setting.port);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EADDRINUSE') throw createPortInUseError(setting, command);
    if (code === 'EACCES') {
      throw new SetupError(
        `Port ${setting.port} requires elevated privileges. Set ${setting.variable} to a port above 1023.`,
      );
    }
    throw error;
  }
}
