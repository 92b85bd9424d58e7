import { answers } from './scenarios/answers.mjs';
import { cluster } from './scenarios/cluster.mjs';
import { crashes, crashesGrace } from './scenarios/crashes.mjs';
import { logout } from './scenarios/logout.mjs';
import { outage } from './scenarios/outage.mjs';
import { peer } from './scenarios/peer.mjs';
import { clusterFailover, storeLost } from './scenarios/redis-loss.mjs';
import { longLease, longOutage, startInOutage, stopInOutage } from './scenarios/redis-outage.mjs';
import { revocation } from './scenarios/revocation.mjs';
import { sentinel } from './scenarios/sentinel.mjs';
import { slow } from './scenarios/slow.mjs';
import { store } from './scenarios/store.mjs';
import { storm } from './scenarios/storm.mjs';

/** Groups run one after the other; scenarios of a group run in parallel, as only the first one needs much CPU. */
export const groups = [
  [storm, slow, revocation],
  [crashes],
  [crashesGrace],
  [outage],
  [store],
  [longOutage, longLease, storeLost],
  [stopInOutage, startInOutage, clusterFailover],
  [logout],
  [answers, sentinel, cluster],
  [peer],
];

/** With --short, this many scenarios run at a time, the slowest first. */
export const shortConcurrency = 2;
export const shortOrder = [
  longOutage,
  peer,
  store,
  clusterFailover,
  startInOutage,
  longLease,
  stopInOutage,
  revocation,
  outage,
  answers,
  crashes,
  crashesGrace,
  storm,
  slow,
  sentinel,
  cluster,
  storeLost,
  logout,
];
