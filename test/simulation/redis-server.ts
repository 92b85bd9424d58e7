import { LuaScripts, type LuaValue } from './lua.ts';

/** A reply: bulk strings are Buffers; a simple string is a string. */
export type Reply = LuaValue | string | readonly Reply[];

interface StreamEntry {
  readonly id: string;
  readonly fields: readonly Buffer[];
}

interface Pending {
  consumer: string;
  deliveredAt: number;
  deliveries: number;
}

interface Stream {
  readonly entries: StreamEntry[];
  readonly groups: Map<string, { lastId: string; readonly pending: Map<string, Pending> }>;
  lastId: string;
}

/** Members of sorted sets are bytes. */
const memberEncoding = 'latin1';

/** The members of a sorted set with their scores; never changed, so that a failover can restore an older one. */
type SortedSet = ReadonlyMap<string, number>;

type Value = Buffer | Stream | SortedSet;

interface Entry {
  readonly value: Value;
  readonly expiresAt: number;
}

type Args = readonly Buffer[];

/** A key that a command has changed: its value before and after. */
export type OnWrite = (key: string, before: Buffer | undefined, after: Buffer | undefined) => void;

/**
 * The commands and scripts that Latchkey uses, as Redis 7 executes them (`differential.test.ts` compares both).
 * `failOver` takes back the last writes, as a failover to a replica that lags does.
 */
export class RedisServer {
  readonly #entries = new Map<string, Entry>();
  readonly #scripts = new LuaScripts();
  /** What the latest write commands have replaced, for `failOver`. */
  #undoLog: { readonly key: string; readonly before: Entry | undefined }[][] = [];
  #changed: { readonly key: string; readonly before: Entry | undefined }[] = [];
  onWrite: OnWrite = () => {};
  onPublish: (channel: string, message: string) => void = () => {};

  constructor(readonly nowMs: () => number) {}

  /** @throws Error with the text of Redis's error reply */
  execute(args: Args): Reply {
    const [reply] = this.executeTogether([args]);
    if (reply instanceof Error) throw reply;
    return reply!;
  }

  /** Executes a transaction, which a failover loses as a whole or not at all. */
  executeTogether(commands: readonly Args[]): (Reply | Error)[] {
    this.#changed = [];
    const replies = commands.map((args) => {
      try {
        return this.#dispatch(args);
      } catch (error) {
        return error as Error;
      }
    });
    if (this.#changed.length > 0) {
      this.#undoLog.push(this.#changed);
      if (this.#undoLog.length > 50) this.#undoLog.shift();
    }
    return replies;
  }

  /** All writes so far have reached a replica. */
  replicate(): void {
    this.#undoLog = [];
  }

  /** Loses the last `writes` that have not reached a replica; returns the keys whose writes it has lost. */
  failOver(writes: number): readonly string[] {
    const lost = (writes > 0 ? this.#undoLog.splice(-writes, writes) : []).reverse();
    for (const { key, before } of lost.flatMap((changes) => changes.toReversed()))
      if (before) this.#entries.set(key, before);
      else this.#entries.delete(key);
    if (writes > 0) this.#undoLog = [];
    return lost.flatMap((changes) => changes.map(({ key }) => key));
  }

  flush(): void {
    this.#entries.clear();
    this.#undoLog = [];
  }

  keys(): readonly string[] {
    return [...this.#entries.keys()].filter((key) => this.#find(key) !== undefined);
  }

  read(key: string): Buffer | undefined {
    const value = this.#find(key)?.value;
    return Buffer.isBuffer(value) ? value : undefined;
  }

  streamLength(key: string): number {
    return this.#stream(key)?.entries.length ?? 0;
  }

  #find(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry && entry.expiresAt <= this.nowMs()) {
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }

  #write(key: string, entry: Entry | undefined): void {
    const before = this.#find(key);
    this.#changed.push({ key, before });
    if (entry) this.#entries.set(key, entry);
    else this.#entries.delete(key);
    this.onWrite(key, toBuffer(before), toBuffer(entry));
  }

  #stream(key: string): Stream | undefined {
    const value = this.#find(key)?.value;
    return value === undefined || Buffer.isBuffer(value) || value instanceof Map
      ? undefined
      : (value as Stream);
  }

  /** Changes a copy of the stream, so that a failover can restore the old one. */
  #changeStream<T>(key: string, change: (stream: Stream) => T): T {
    const old = this.#stream(key);
    const copy: Stream = old
      ? {
          entries: [...old.entries],
          lastId: old.lastId,
          groups: new Map(
            [...old.groups].map(([name, { lastId, pending }]) => [
              name,
              { lastId, pending: new Map([...pending].map(([id, each]) => [id, { ...each }])) },
            ]),
          ),
        }
      : { entries: [], groups: new Map(), lastId: '0-0' };
    const result = change(copy);
    this.#write(key, { value: copy, expiresAt: Number.POSITIVE_INFINITY });
    return result;
  }

  #dispatch([command, ...args]: Args): Reply {
    const name = command!.toString().toUpperCase();
    const text = args.map((each) => each.toString());
    const key = text[0] ?? '';
    switch (name) {
      case 'PING':
        return 'PONG';
      case 'GET':
        return this.read(key) ?? null;
      case 'GETRANGE':
        return (this.read(key) ?? Buffer.alloc(0)).subarray(Number(text[1]), Number(text[2]) + 1);
      case 'SET':
        return this.#set(key, args[1]!, text.slice(2));
      case 'DEL':
        if (!this.#find(key)) return 0;
        this.#write(key, undefined);
        return 1;
      case 'GETDEL': {
        const value = this.read(key);
        if (value) this.#write(key, undefined);
        return value ?? null;
      }
      case 'EXISTS':
        return this.#find(key) ? 1 : 0;
      case 'INCR': {
        const { value = Buffer.from('0'), expiresAt = Number.POSITIVE_INFINITY } = this.#find(key) ?? {};
        const next = Number(value) + 1;
        this.#write(key, { value: Buffer.from(String(next)), expiresAt });
        return next;
      }
      case 'PEXPIRE': {
        const entry = this.#find(key);
        if (!entry) return 0;
        const leftMs = Number(text[1]);
        this.#write(key, leftMs > 0 ? { ...entry, expiresAt: this.nowMs() + leftMs } : undefined);
        return 1;
      }
      case 'PTTL': {
        const entry = this.#find(key);
        if (!entry) return -2;
        return entry.expiresAt === Number.POSITIVE_INFINITY ? -1 : Math.round(entry.expiresAt - this.nowMs());
      }
      case 'PUBLISH':
        this.onPublish(key, text[1]!);
        return 0;
      case 'EVAL': {
        const count = Number(text[1]);
        const [keys, rest] = [args.slice(2, 2 + count), args.slice(2 + count)];
        return this.#scripts.run(key, keys, rest, (call) => {
          const reply = this.#dispatch(call);
          return typeof reply === 'string' ? Buffer.from(reply) : (reply as LuaValue);
        });
      }
      default:
        return name.startsWith('Z')
          ? this.#sortedSetCommand(
              name,
              key,
              args.map((each) => each.toString(memberEncoding)),
            )
          : this.#streamCommand(name, key, args, text);
    }
  }

  #set(key: string, value: Buffer, options: readonly string[]): Reply {
    const old = this.#find(key);
    if (options.includes('NX') && old) return null;
    const ttlIndex = options.indexOf('PX');
    const expiresAt = options.includes('KEEPTTL')
      ? (old?.expiresAt ?? Number.POSITIVE_INFINITY)
      : ttlIndex < 0
        ? Number.POSITIVE_INFINITY
        : this.nowMs() + Number(options[ttlIndex + 1]);
    this.#write(key, { value, expiresAt });
    return 'OK';
  }

  /** The members of a sorted set, lowest score first. */
  members(key: string): readonly (readonly [member: string, score: number])[] {
    const value = this.#find(key)?.value;
    return value instanceof Map
      ? [...(value as SortedSet)].sort(([a, aScore], [b, bScore]) => aScore - bScore || (a < b ? -1 : 1))
      : [];
  }

  #sortedSetCommand(name: string, key: string, text: readonly string[]): Reply {
    const members = this.members(key);
    const withScores = (found: readonly (readonly [string, number])[]) =>
      found.flatMap(([member, score]) => [Buffer.from(member, memberEncoding), Buffer.from(String(score))]);
    const write = (next: SortedSet) => {
      const expiresAt = this.#find(key)?.expiresAt ?? Number.POSITIVE_INFINITY;
      this.#write(key, next.size > 0 ? { value: next, expiresAt } : undefined);
    };
    switch (name) {
      case 'ZADD': {
        const [score, member] = text.slice(-2) as [string, string];
        const exists = members.some(([each]) => each === member);
        if (text[1] === 'XX' && !exists) return 0;
        write(new Map(members).set(member, Number(score)));
        return exists ? 0 : 1;
      }
      case 'ZREM': {
        const next = new Map(members);
        if (!next.delete(text[1]!)) return 0;
        write(next);
        return 1;
      }
      case 'ZSCORE': {
        const score = new Map(members).get(text[1]!);
        return score === undefined ? null : Buffer.from(String(score));
      }
      case 'ZCOUNT':
        return members.filter(([, score]) => score >= Number(text[1])).length; // up to +inf
      case 'ZSCAN':
        return [Buffer.from('0'), withScores(members)];
      case 'ZREVRANGE': {
        const last = Number(text[2]);
        return withScores(members.toReversed().slice(Number(text[1]), last < 0 ? undefined : last + 1));
      }
      case 'ZRANGEBYSCORE': {
        const [, , max, , offset, count] = text; // from -inf
        const found = members.filter(([, score]) => score <= Number(max));
        return found
          .slice(Number(offset), Number(offset) + Number(count))
          .map(([member]) => Buffer.from(member, memberEncoding));
      }
      default:
        throw new Error(`ERR unknown command '${name}'`);
    }
  }

  #streamCommand(name: string, key: string, args: Args, text: readonly string[]): Reply {
    const group = (of: Stream | undefined, groupName: string) => {
      const found = of?.groups.get(groupName);
      if (!found) throw new Error(`NOGROUP No such key '${key}' or consumer group '${groupName}'`);
      return found;
    };
    switch (name) {
      case 'XLEN':
        return this.streamLength(key);
      case 'XADD':
        return this.#changeStream(key, (stream) => {
          const atMs = Math.floor(this.nowMs());
          const [lastMs, lastSequence] = stream.lastId.split('-').map(Number) as [number, number];
          const nextId = atMs > lastMs ? `${atMs}-0` : `${lastMs}-${lastSequence + 1}`;
          const id = text[1] === '*' ? nextId : text[1]!;
          stream.entries.push({ id, fields: args.slice(2) });
          stream.lastId = id;
          return Buffer.from(id);
        });
      case 'XGROUP': {
        const [, stream, groupName, from] = text;
        if (this.#stream(stream!)?.groups.has(groupName!))
          throw new Error('BUSYGROUP Consumer Group name already exists');
        this.#changeStream(stream!, ({ groups }) =>
          groups.set(groupName!, { lastId: from === '0' ? '0-0' : from!, pending: new Map() }),
        );
        return 'OK';
      }
      case 'XREADGROUP':
        return this.#readGroup(text, group);
      case 'XPENDING': {
        const [, groupName, , minIdle, start, , count] = text;
        const after = start!.startsWith('(') ? start!.slice(1) : '0-0';
        const { pending } = group(this.#stream(key), groupName!);
        return [...pending]
          .map(([id, each]) => ({ id, ...each, idle: Math.floor(this.nowMs() - each.deliveredAt) }))
          .filter(({ id, idle }) => idle >= Number(minIdle) && compareIds(id, after) > 0)
          .sort((a, b) => compareIds(a.id, b.id))
          .slice(0, Number(count))
          .map(({ id, consumer, idle, deliveries }) => [
            Buffer.from(id),
            Buffer.from(consumer),
            idle,
            deliveries,
          ]);
      }
      case 'XCLAIM': {
        const [, groupName, consumer, minIdle, id, option] = text;
        group(this.#stream(key), groupName!);
        return this.#changeStream(key, (stream) => {
          const { pending } = group(stream, groupName!);
          const found = pending.get(id!);
          if (!found || this.nowMs() - found.deliveredAt < Number(minIdle)) return [];
          const entry = stream.entries.find((each) => each.id === id);
          if (!entry) {
            pending.delete(id!); // Redis 7 drops entries that were deleted
            return [];
          }
          found.consumer = consumer!;
          found.deliveredAt = this.nowMs();
          if (option === 'JUSTID') return [Buffer.from(id!)];
          found.deliveries += 1;
          return [[Buffer.from(id!), entry.fields]];
        });
      }
      case 'XACK': {
        const [, groupName, id] = text;
        if (!this.#stream(key)?.groups.has(groupName!)) return 0;
        return this.#changeStream(key, (stream) => (group(stream, groupName!).pending.delete(id!) ? 1 : 0));
      }
      case 'XDEL':
        if (!this.#stream(key)) return 0;
        return this.#changeStream(key, ({ entries }) => {
          const index = entries.findIndex(({ id }) => id === text[1]);
          if (index >= 0) entries.splice(index, 1);
          return index >= 0 ? 1 : 0;
        });
      default:
        throw new Error(`ERR unknown command '${name}'`);
    }
  }

  #readGroup(
    text: readonly string[],
    group: (
      of: Stream | undefined,
      name: string,
    ) => { lastId: string; readonly pending: Map<string, Pending> },
  ): Reply {
    const [, groupName, consumer, , count, , key] = text;
    const found = group(this.#stream(key!), groupName!);
    const fresh = this.#stream(key!)!.entries.filter(({ id }) => compareIds(id, found.lastId) > 0);
    if (fresh.length === 0) return null;
    return this.#changeStream(key!, (stream) => {
      const target = stream.groups.get(groupName!)!;
      const delivered = fresh.slice(0, Number(count));
      for (const { id } of delivered) {
        target.pending.set(id, { consumer: consumer!, deliveredAt: this.nowMs(), deliveries: 1 });
        target.lastId = id;
      }
      return [[Buffer.from(key!), delivered.map(({ id, fields }) => [Buffer.from(id), fields])]];
    });
  }
}

function compareIds(a: string, b: string): number {
  const [aMs, aSequence] = a.split('-').map(Number) as [number, number];
  const [bMs, bSequence] = b.split('-').map(Number) as [number, number];
  return aMs - bMs || aSequence - bSequence;
}

const toBuffer = (entry: Entry | undefined) => (Buffer.isBuffer(entry?.value) ? entry.value : undefined);
