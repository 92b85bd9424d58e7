import { EventEmitter } from 'node:events';
import type { Connection, RedisNetwork } from './redis-network.ts';
import type { Reply } from './redis-server.ts';
import type { Owner } from './virtual-time.ts';

type Argument = string | number | Buffer;

interface Waiting {
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly isBuffer: boolean;
  readonly cancelTimeout: () => void;
}

export interface ClientOptions {
  readonly connectTimeout: number;
  readonly commandTimeout: number;
  readonly retryStrategy: (attempt: number) => number | null;
}

/**
 * A Redis client that behaves as ioredis does with Latchkey's options: it fails commands at once while it is not
 * connected, times out commands (which Redis may still execute), and reconnects.
 */
export class SimulatedRedis extends EventEmitter {
  status: 'connecting' | 'ready' | 'reconnecting' | 'end' = 'connecting';
  /** Of the connection: what `watchLiveness` listens to, and what it closes. */
  stream = new EventEmitter();
  readonly #owner: Owner;
  readonly #waiting = new Map<number, Waiting>();
  #connection: Connection | undefined;
  #attempts = 0;
  #commandNumber = 0;

  constructor(
    private readonly network: RedisNetwork,
    owner: Owner,
    readonly options: ClientOptions,
    private readonly waitReplicas: () => number,
  ) {
    super();
    this.setMaxListeners(0);
    this.#owner = owner;
    this.#connect();
  }

  #connect(): void {
    if (this.status === 'end') return;
    const events = {
      onReply: (number: number, reply: Reply | Error) => {
        this.stream.emit('data');
        this.#settle(number, reply);
      },
      onBreak: () => this.#onBreak(),
      onMessage: (channel: string, message: string) => {
        this.stream.emit('data');
        this.emit('message', channel, message);
      },
    };
    this.network.connect(
      this.#owner,
      this.options.connectTimeout,
      (connection) => this.#onConnect(connection),
      events,
    );
  }

  #onConnect(connection: Connection | undefined): void {
    if (this.status === 'end') connection?.break();
    else if (!connection) this.#reconnect();
    else {
      this.#connection = connection;
      this.stream = Object.assign(new EventEmitter(), { destroy: () => connection.closeByClient() });
      this.#attempts = 0;
      this.status = 'ready';
      this.emit('ready');
    }
  }

  #onBreak(): void {
    this.#connection = undefined;
    for (const number of [...this.#waiting.keys()]) this.#settle(number, new Error('Connection is closed.'));
    if (this.status !== 'end') this.#reconnect();
  }

  #reconnect(): void {
    this.#attempts += 1;
    const delayMs = this.options.retryStrategy(this.#attempts);
    if (delayMs === null) {
      this.status = 'end';
      this.emit('end');
      return;
    }
    this.status = 'reconnecting';
    this.emit('reconnecting', delayMs);
    this.network.time.schedule(delayMs, () => this.#connect(), this.#owner, true);
  }

  #settle(number: number, reply: Reply | Error): void {
    const waiting = this.#waiting.get(number);
    if (!waiting) return; // it timed out
    this.#waiting.delete(number);
    waiting.cancelTimeout();
    if (reply instanceof Error) waiting.reject(reply);
    else waiting.resolve(waiting.isBuffer ? reply : toStrings(reply));
  }

  #send(
    commands: readonly (readonly Argument[])[],
    isBuffer: boolean,
    isTransaction = false,
  ): Promise<unknown> {
    const connection = this.#connection;
    if (!connection)
      return Promise.reject(new Error("Stream isn't writeable and enableOfflineQueue options is false"));
    this.#commandNumber += 1;
    const number = this.#commandNumber;
    return new Promise((resolve, reject) => {
      const cancelTimeout = this.network.time.schedule(
        this.options.commandTimeout,
        () => this.#settle(number, new Error('Command timed out')),
        this.#owner,
        true,
      );
      this.#waiting.set(number, { resolve, reject, isBuffer, cancelTimeout });
      const encode = (argument: Argument) =>
        Buffer.isBuffer(argument) ? argument : Buffer.from(String(argument));
      connection.send(
        number,
        commands.map((command) => command.map(encode)),
        isTransaction,
      );
    });
  }

  readonly #command =
    (name: string) =>
    (...args: Argument[]) =>
      this.#send([[name, ...args]], false);
  readonly #bufferCommand =
    (name: string) =>
    (...args: Argument[]) =>
      this.#send([[name, ...args]], true);

  readonly get = this.#command('GET');
  readonly getBuffer = this.#bufferCommand('GET');
  readonly getdelBuffer = this.#bufferCommand('GETDEL');
  readonly set = this.#command('SET');
  readonly del = this.#command('DEL');
  readonly incr = this.#command('INCR');
  readonly pexpire = this.#command('PEXPIRE');
  readonly pttl = this.#command('PTTL');
  readonly eval = this.#command('EVAL');
  readonly evalBuffer = this.#bufferCommand('EVAL');
  readonly zadd = this.#command('ZADD');
  readonly zrem = this.#command('ZREM');
  readonly zscore = this.#command('ZSCORE');
  readonly zcount = this.#command('ZCOUNT');
  readonly zscanBuffer = this.#bufferCommand('ZSCAN');
  readonly zrevrangeBuffer = this.#bufferCommand('ZREVRANGE');
  readonly zrangebyscoreBuffer = this.#bufferCommand('ZRANGEBYSCORE');
  readonly xlen = this.#command('XLEN');
  readonly xgroup = this.#command('XGROUP');
  readonly xreadgroup = this.#command('XREADGROUP');
  readonly xpending = this.#command('XPENDING');
  readonly publish = this.#command('PUBLISH');
  readonly subscribe = this.#command('SUBSCRIBE');
  readonly ping = this.#command('PING');
  readonly call = (name: string, ...args: Argument[]) => this.#send([[name, ...args]], false);

  async wait(replicas: number): Promise<number> {
    await this.#send([['PING']], false);
    const confirmed = this.waitReplicas();
    if (confirmed >= replicas) this.network.server.replicate();
    return confirmed;
  }

  multi(): unknown {
    const commands: Argument[][] = [];
    const areBuffers: boolean[] = [];
    const transaction: Record<string, unknown> = {
      exec: async () => {
        const replies = (await this.#send(commands, true, true)) as Reply[];
        return replies.map((reply, index) =>
          reply instanceof Error ? [reply, undefined] : [null, areBuffers[index] ? reply : toStrings(reply)],
        );
      },
    };
    for (const name of ['xadd', 'xack', 'xdel', 'set', 'del', 'getdelBuffer'])
      transaction[name] = (...args: Argument[]) => {
        commands.push([name.replace('Buffer', '').toUpperCase(), ...args]);
        areBuffers.push(name.endsWith('Buffer'));
        return transaction;
      };
    return transaction;
  }

  duplicate(options: Partial<ClientOptions>): SimulatedRedis {
    const copy = new SimulatedRedis(
      this.network,
      this.#owner,
      { ...this.options, ...options },
      this.waitReplicas,
    );
    // ioredis queues this command until it is connected (`enableOfflineQueue` of the subscriber).
    const subscribe = copy.subscribe;
    Object.assign(copy, {
      subscribe: async (channel: string) => {
        if (copy.status === 'connecting')
          await new Promise((resolve) => copy.once('ready', resolve).once('end', resolve));
        return subscribe(channel);
      },
    });
    return copy;
  }

  disconnect(): void {
    if (this.status === 'end') return;
    this.status = 'end';
    const connection = this.#connection;
    if (connection) {
      this.network.forget(connection);
      connection.break();
    }
    this.network.time.schedule(0, () => this.emit('end'), this.#owner);
  }
}

function toStrings(reply: Reply): unknown {
  if (Buffer.isBuffer(reply)) return reply.toString();
  return Array.isArray(reply)
    ? reply.map((each) => (each instanceof Error ? each : toStrings(each as Reply)))
    : reply;
}
