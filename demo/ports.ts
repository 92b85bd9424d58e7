import { connect } from 'node:net';

/** Something about the surroundings that the person at the terminal can change; the message is one line for them. */
export class SetupFault extends Error {}

/** A port, and the environment variable that names it. */
export interface NamedPort {
  readonly variable: string;
  readonly port: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const loopbacks = ['127.0.0.1', '::1'];
const answerWithinMs = 500;

/** The port the variable names, or the default; throws a `SetupFault`. 0, any free port, only where `least` is 0. */
export function readPort(env: Environment, variable: string, fallback: number, least: 0 | 1 = 1): NamedPort {
  const value = env[variable]?.trim() || String(fallback);
  const port = /^\d{1,5}$/.test(value) ? Number(value) : -1;
  if (port < least || port > 65_535) {
    throw new SetupFault(`${variable} must be a port number from ${least} to 65535.`);
  }
  return { variable, port };
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: answerWithinMs });
    const settle = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', () => settle(true));
    socket.once('timeout', () => settle(false));
    socket.once('error', () => settle(false));
  });
}

function inUse({ variable, port }: NamedPort, command: string): SetupFault {
  const other = port + 100 <= 65_535 ? port + 100 : port - 100;
  return new SetupFault(
    `Port ${port} is already in use. Set ${variable} to another one, e.g. ${variable}=${other} ${command}`,
  );
}

/**
 * Throws a `SetupFault` when anybody answers at this port of this machine. Asking is surer than trying to listen: some
 * systems let us listen on 127.0.0.1 beside a foreign listener on all addresses, and a browser may prefer ::1.
 */
export async function requireFreePort(named: NamedPort, command: string): Promise<void> {
  if (named.port === 0) return;
  const answered = await Promise.all(loopbacks.map((host) => answers(host, named.port)));
  if (answered.includes(true)) throw inUse(named, command);
}

/** What `start` starts on this port; a port that is taken, or not ours to take, is a `SetupFault`. */
export async function startOnPort<T>(
  named: NamedPort,
  command: string,
  start: (port: number) => Promise<T>,
): Promise<T> {
  await requireFreePort(named, command);
  try {
    return await start(named.port);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EADDRINUSE') throw inUse(named, command);
    if (code === 'EACCES') {
      throw new SetupFault(`Port ${named.port} needs more rights. Set ${named.variable} to one above 1023.`);
    }
    throw error;
  }
}
