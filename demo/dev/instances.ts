import cluster, { type Worker } from 'node:cluster';

/** What a process of Latchkey says about itself when it listens. */
export interface Report {
  readonly origin: string;
  readonly redirectUri: string;
  readonly postLogoutRedirectUri: string;
  readonly backchannelLogoutUri: string;
  /** Those that sign-ins and routes request. */
  readonly scopes: readonly string[];
  /** The origins of the APIs. */
  readonly apis: readonly string[];
  readonly routes: number;
  readonly hasRedis: boolean;
}

export interface InstancesOptions {
  /** The program of a process, which waits for its environment. */
  readonly script: string;
  /** Called before a process may serve requests. */
  readonly onListening: (report: Report) => void;
  readonly onServing: (report: Report) => void;
  /** The process that was started has exited before it served requests. `isServing`: the one before it continues. */
  readonly onFailed: (exitCode: number, isServing: boolean) => void;
  /** The process that served requests has exited. */
  readonly onCrashed: (uptimeMs: number) => void;
  readonly report: (message: string) => void;
  /** How long a process may take to listen when a newer change is waiting, and to serve requests when it may. */
  readonly startTimeoutMs?: number;
}

export interface Instances {
  /** Replaces the process that serves requests, or starts the first one. */
  start(env: NodeJS.ProcessEnv): void;
  stop(): Promise<void>;
}

type Message =
  | { readonly type: 'waiting' }
  | ({ readonly type: 'listening' } & Report)
  | { readonly type: 'serving' }
  | { readonly type: 'released'; readonly sealed?: string };

/** How long the process that is replaced may take; more than it takes itself. */
const releaseTimeoutMs = 7_000;
const stopTimeoutMs = 1_000;

/**
 * The processes of Latchkey: one that serves requests, during a restart another one that will replace it, and one that
 * has loaded the packages already, so that the next restart is faster. They share the port (`node:cluster`).
 */
export function createInstances(options: InstancesOptions): Instances {
  const { onListening, onServing, onFailed, onCrashed, report, startTimeoutMs = 10_000 } = options;
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({ exec: options.script, args: [] });

  let spare: Worker | undefined;
  let current: { readonly worker: Worker; readonly since: number } | undefined;
  let next: Worker | undefined;
  let old: Worker | undefined;
  /** Settles when `old` has released what it stores, whatever happens to the process that replaces it. */
  let releasing: Promise<void> = Promise.resolve();
  /** True from when the old process is told to release until the new one serves requests. */
  let isReplacing = false;
  let waiting: NodeJS.ProcessEnv | undefined;
  /** What the last process has released, until another one has it. It is used once, as it would restore ended sessions. */
  let released: string | undefined;
  let isStopped = false;
  /** Settles when the process receives messages. */
  const whenWaiting = new WeakMap<Worker, Promise<void>>();

  function fork(): Worker {
    const worker = cluster.fork();
    whenWaiting.set(
      worker,
      new Promise((resolve) => worker.on('message', ({ type }: Message) => type === 'waiting' && resolve())),
    );
    worker.on('error', () => undefined); // its channel closes with it
    return worker;
  }

  function takeSpare(): Worker {
    const worker = spare && !spare.isDead() && spare.isConnected() ? spare : fork();
    spare = undefined;
    return worker;
  }

  function start(env: NodeJS.ProcessEnv): void {
    if (isStopped) return;
    if (next) {
      // Ending it now would mean that somebody who saves every second never sees a change.
      if (!waiting) endIfStuck(next);
      waiting = env;
      return;
    }
    next = takeSpare();
    run(next, env);
  }

  /** Ends a process that does not listen in time, as its code may be at fault; the next one then starts. */
  function endIfStuck(worker: Worker): void {
    const isStuck = () => worker === next && !isReplacing;
    setTimeout(() => isStuck() && worker.process.kill('SIGKILL'), startTimeoutMs).unref();
  }

  function run(worker: Worker, env: NodeJS.ProcessEnv): void {
    let lastReport: Report | undefined;
    worker.on('message', (message: Message) => {
      if (message.type === 'released' && (worker === current?.worker || worker === old))
        released = message.sealed;
      if (worker !== next) return;
      if (message.type === 'listening') {
        lastReport = message;
        onListening(message);
        void replace(worker);
      } else if (message.type === 'serving' && lastReport) {
        current = { worker, since: performance.now() };
        next = undefined;
        isReplacing = false;
        released = undefined;
        onServing(lastReport);
        if (waiting) {
          const latest = waiting;
          waiting = undefined;
          start(latest);
        } else if (!isStopped) spare ??= fork();
      }
    });
    worker.once('exit', (code) => {
      if (isStopped) return;
      if (worker === next) {
        next = undefined;
        isReplacing = false;
        if (waiting) {
          const latest = waiting;
          waiting = undefined;
          start(latest);
        } else onFailed(code ?? 1, current !== undefined);
      } else if (worker === current?.worker) {
        const uptimeMs = performance.now() - current.since;
        current = undefined;
        if (!next) onCrashed(uptimeMs);
      }
    });
    void whenWaiting.get(worker)?.then(() => {
      if (worker.isConnected()) worker.send({ type: 'start', env });
    });
  }

  /** Ends the process that serves requests, and gives what it has released to `worker`. */
  async function replace(worker: Worker): Promise<void> {
    isReplacing = true;
    if (current) {
      old = current.worker;
      current = undefined;
      releasing = release(old).finally(() => {
        old = undefined;
      });
    }
    await releasing;
    if (worker !== next || !worker.isConnected()) return;
    worker.send({ type: 'take-over', sealed: released });
    setTimeout(() => {
      if (worker !== next) return;
      report('the new process does not respond, so it is ended');
      worker.process.kill('SIGKILL');
    }, startTimeoutMs).unref();
  }

  /** Settles when the process has sent what it stores, or has exited. */
  async function release(old: Worker): Promise<void> {
    if (old.isDead()) return;
    const exited = exitOf(old);
    const timer = setTimeout(() => {
      report('the previous process did not stop in time, so its sessions are lost');
      old.process.kill('SIGKILL');
    }, releaseTimeoutMs);
    const sent = new Promise<void>((resolve) => {
      old.on('message', ({ type }: Message) => type === 'released' && resolve());
    });
    if (old.isConnected()) old.send({ type: 'release' });
    await Promise.race([sent, exited]);
    clearTimeout(timer);
    setTimeout(() => old.process.kill('SIGKILL'), stopTimeoutMs).unref();
  }

  return {
    start,
    async stop() {
      isStopped = true;
      const workers = Object.values(cluster.workers ?? {}).filter((each) => each !== undefined);
      const exits = workers.map(exitOf);
      spare?.process.kill('SIGKILL');
      for (const each of workers) each.process.kill('SIGTERM');
      const timer = setTimeout(() => {
        for (const each of workers) each.process.kill('SIGKILL');
      }, stopTimeoutMs);
      await Promise.all(exits);
      clearTimeout(timer);
    },
  };
}

/** Never rejects, unlike `once` of node:events, when a message to the process fails because it is about to exit. */
function exitOf(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    worker.once('exit', () => resolve());
  });
}
