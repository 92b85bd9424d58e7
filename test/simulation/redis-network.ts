import type { Random } from './random.ts';
import type { RedisServer, Reply } from './redis-server.ts';
import type { Owner, VirtualTime } from './virtual-time.ts';

/**
 * How Redis can be reached: `up`; `refused` (connections break and are refused); `silent` (packets are delayed until it
 * is over, new connections hang); `lost` (like `silent`, but then connections break, as when the host has been replaced).
 */
export type Reachability = 'up' | 'refused' | 'silent' | 'lost';

/** What a connection sees of the network. */
export interface ConnectionEvents {
  onReply(commandNumber: number, reply: Reply | Error): void;
  onBreak(): void;
  onMessage(channel: string, message: string): void;
}

/** Owns the events of the network and of Redis, which no process can pause. */
const network: Owner = { name: 'network', skewMs: 0, isDead: false, pausedUntil: 0 };

/** One TCP connection: commands and replies keep their order. */
export class Connection {
  isBroken = false;
  isClosedByClient = false;
  isSubscribed = false;
  /** While it hangs: is called when that is over. */
  onHangEnd: (() => void) | undefined;
  #lastArrivalAt = 0;
  #lastReplyAt = 0;

  constructor(
    readonly owner: Owner,
    readonly events: ConnectionEvents,
    private readonly network: RedisNetwork,
  ) {}

  send(commandNumber: number, commands: readonly (readonly Buffer[])[], isTransaction: boolean): void {
    const { network } = this;
    const arrivesAt = Math.max(network.time.nowMs + network.latency(), this.#lastArrivalAt);
    this.#lastArrivalAt = arrivesAt;
    network.deliver(this, arrivesAt, () => {
      const reply = network.execute(this, commands, isTransaction);
      this.#reply(() => this.events.onReply(commandNumber, reply));
    });
  }

  message(channel: string, message: string): void {
    this.#reply(() => {
      this.network.onMessage(this.owner, message);
      this.events.onMessage(channel, message);
    });
  }

  /** Ends the connection; Redis still executes what has already arrived there. */
  break(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.endHang();
    this.network.time.schedule(0, () => this.events.onBreak(), this.owner);
  }

  /** The client gives the connection up: it receives nothing more, but what it has sent still arrives at Redis. */
  closeByClient(): void {
    if (this.isBroken || this.isClosedByClient) return;
    this.isClosedByClient = true;
    this.endHang();
    this.network.forget(this);
    this.network.time.schedule(0, () => this.events.onBreak(), this.owner);
  }

  endHang(): void {
    this.onHangEnd?.();
    this.onHangEnd = undefined;
  }

  #reply(run: () => void): void {
    const { network } = this;
    const arrivesAt = Math.max(network.time.nowMs + network.latency(), this.#lastReplyAt);
    this.#lastReplyAt = arrivesAt;
    network.deliverReply(this, arrivesAt, run);
  }
}

/** The network between the processes and Redis, with its faults. */
export class RedisNetwork {
  readonly #connections = new Set<Connection>();
  #server: Reachability = 'up';
  readonly #links = new Map<Owner, Reachability>();
  /** Deliveries that wait for the end of a silent time. */
  #held: { readonly connection: Connection; readonly run: () => void }[] = [];
  /** The share of commands and replies that take from 20 ms to `slowMaxMs`. */
  slowShare = 0;
  slowMaxMs = 1_500;
  /** Is called when a process receives a message. */
  onMessage: (owner: Owner, message: string) => void = () => {};

  constructor(
    readonly time: VirtualTime,
    readonly server: RedisServer,
    private readonly random: Random,
  ) {
    server.onPublish = (channel, message) => {
      for (const each of this.#connections) if (each.isSubscribed) each.message(channel, message);
    };
  }

  latency(): number {
    if (this.random.chance(this.slowShare)) return this.random.between(20, this.slowMaxMs);
    return this.random.between(0.05, 1);
  }

  get serverReachability(): Reachability {
    return this.#server;
  }

  linkReachability(owner: Owner): Reachability {
    return this.#links.get(owner) ?? 'up';
  }

  reachability(owner: Owner): Reachability {
    return this.#server === 'up' ? this.linkReachability(owner) : this.#server;
  }

  /** @param owner only for this process; otherwise for all */
  set(reachability: Reachability, owner?: Owner): void {
    if (owner) this.#links.set(owner, reachability);
    else this.#server = reachability;
    if (reachability === 'refused') this.breakConnections(owner);
    if (reachability === 'up') this.#release();
  }

  /**
   * The connection on which this process receives messages hangs, which Redis does not notice, until the function
   * returned is called, or until the process gives it up.
   * @param onEnd is called then
   * @returns undefined if it has none, or it hangs already
   */
  hangSubscription(owner: Owner, onEnd: () => void): ((isLost: boolean) => void) | undefined {
    const connection = [...this.#connections].find((each) => each.isSubscribed && each.owner === owner);
    if (!connection || connection.onHangEnd) return undefined;
    connection.onHangEnd = onEnd;
    return (isLost) => {
      if (!connection.onHangEnd) return;
      connection.endHang();
      if (isLost) this.#break(connection);
      else this.#release();
    };
  }

  #break(connection: Connection): void {
    this.#connections.delete(connection);
    connection.break();
    this.#held = this.#held.filter((each) => !each.connection.isBroken);
  }

  /** Breaks the connections of one process, or all. */
  breakConnections(owner?: Owner): void {
    for (const each of [...this.#connections]) if (!owner || each.owner === owner) this.#break(each);
  }

  #release(): void {
    const held = this.#held;
    this.#held = [];
    for (const each of held)
      if (this.#reachabilityOf(each.connection) === 'up')
        this.time.schedule(this.latency() / 10, () => this.#run(each.connection, each.run), network);
      else this.#held.push(each);
  }

  /** Calls `onResult` with a connection, or with `undefined` when the attempt has failed. */
  connect(
    owner: Owner,
    timeoutMs: number,
    onResult: (connection: Connection | undefined) => void,
    events: ConnectionEvents,
  ): void {
    const startedAt = this.time.nowMs;
    const attempt = () => {
      const leftMs = startedAt + timeoutMs - this.time.nowMs;
      const reachability = this.reachability(owner);
      if (reachability === 'up') {
        const connection = new Connection(owner, events, this);
        this.#connections.add(connection);
        this.time.schedule(
          2 * this.latency(),
          () => onResult(connection.isBroken ? undefined : connection),
          owner,
        );
      } else if (reachability === 'refused' || leftMs <= 0) onResult(undefined);
      // A SYN that gets no response is repeated after a second, which is when the attempt times out.
      else this.time.schedule(leftMs, () => onResult(undefined), owner);
    };
    this.time.schedule(this.latency(), attempt, owner);
  }

  deliver(connection: Connection, atMs: number, run: () => void): void {
    this.time.schedule(atMs - this.time.nowMs, () => this.#run(connection, run), network);
  }

  deliverReply(connection: Connection, atMs: number, run: () => void): void {
    const isOpen = () => !connection.isBroken && !connection.isClosedByClient;
    const arrive = () => this.time.schedule(0, () => isOpen() && run(), connection.owner);
    this.time.schedule(atMs - this.time.nowMs, () => this.#run(connection, arrive), network);
  }

  execute(
    connection: Connection,
    commands: readonly (readonly Buffer[])[],
    isTransaction: boolean,
  ): Reply | Error {
    if (commands[0]![0]!.toString() === 'SUBSCRIBE') {
      connection.isSubscribed = true;
      return 1;
    }
    const replies = this.server.executeTogether(commands);
    return isTransaction ? (replies as unknown as Reply) : replies[0]!;
  }

  /** The connections of a process that has died. */
  abandon(owner: Owner): void {
    for (const each of this.#connections)
      if (each.owner === owner) {
        this.#connections.delete(each);
        each.isBroken = true;
      }
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection);
  }

  #reachabilityOf({ owner, onHangEnd }: Connection): Reachability {
    const reachability = this.reachability(owner);
    return reachability === 'up' && onHangEnd ? 'silent' : reachability;
  }

  #run(connection: Connection, run: () => void): void {
    if (connection.isBroken) return;
    const reachability = this.#reachabilityOf(connection);
    if (reachability === 'up') run();
    else if (reachability !== 'refused') this.#held.push({ connection, run });
  }
}
