import type { ProviderCondition, ProviderOptions } from './provider.ts';
import type { Reachability } from './redis-network.ts';

/** A fault. `instance` counts the processes from 0. */
export type Fault =
  | { readonly kind: 'kill'; readonly instance: number; readonly restartAfterMs: number }
  | {
      readonly kind: 'stop';
      readonly instance: number;
      readonly restartAfterMs: number;
      readonly secrets?: string;
    }
  | { readonly kind: 'pause'; readonly instance: number; readonly ms: number }
  | {
      readonly kind: 'redis';
      readonly reachability: Reachability;
      readonly ms: number;
      readonly lostWrites?: number;
    }
  | {
      readonly kind: 'link';
      readonly instance: number;
      readonly reachability: Reachability;
      readonly ms: number;
    }
  /** Only the connection hangs on which the process receives announcements, or it is lost without being closed. */
  | {
      readonly kind: 'subscription';
      readonly instance: number;
      readonly reachability: 'silent' | 'lost';
      readonly ms: number;
    }
  | { readonly kind: 'flush' }
  | { readonly kind: 'slow_network'; readonly share: number; readonly maxMs: number; readonly ms: number }
  | { readonly kind: 'provider'; readonly condition: ProviderCondition; readonly ms: number };

/** What a user does. */
export type Action =
  | { readonly kind: 'login'; readonly browser: number; readonly instance: number; readonly user: string }
  | {
      readonly kind: 'call' | 'refresh' | 'rejected' | 'sign_out';
      readonly browser: number;
      readonly instance: number;
    }
  /** A page sends requests to these processes in turn, with the session that the browser has at its start. */
  | {
      readonly kind: 'page';
      readonly browser: number;
      readonly instances: readonly number[];
      readonly calls: number;
      readonly everyMs: number;
    }
  | { readonly kind: 'app_call'; readonly instance: number; readonly scope: string }
  | { readonly kind: 'state'; readonly nonce: string; readonly instances: readonly number[] }
  | { readonly kind: 'form'; readonly form: string; readonly instances: readonly number[] };

export type Step = { readonly atMs: number } & (
  | Action
  | Fault
  /** The fault happens `offsetMs` after the provider has received its nth refresh request. */
  | { readonly kind: 'at_refresh'; readonly nth: number; readonly offsetMs: number; readonly fault: Fault }
);

/** A run: everything but the seed of the network. */
export interface Schedule {
  readonly instances: number;
  readonly browsers: number;
  readonly skewsMs: readonly number[];
  readonly secrets: string;
  readonly idleSeconds: number;
  /** As SESSION_CACHE_MS. */
  readonly cacheMs: number;
  readonly waitReplicas: number;
  readonly provider: ProviderOptions;
  readonly condition: ProviderCondition;
  /** Nothing fails, so that every excuse is void, and every revocation is made once. */
  readonly isFaultless: boolean;
  readonly steps: readonly Step[];
  /** When faults end; the run goes on for `quietMs` after that. */
  readonly trafficMs: number;
  readonly quietMs: number;
}
