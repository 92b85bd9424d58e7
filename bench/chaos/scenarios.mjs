import { answers } from './scenarios/answers.mjs';
import { cluster } from './scenarios/cluster.mjs';
import { crashes, crashesGrace } from './scenarios/crashes.mjs';
import { logout } from './scenarios/logout.mjs';
import { outage } from './scenarios/outage.mjs';
import { peer } from './scenarios/peer.mjs';
import { revocation } from './scenarios/revocation.mjs';
import { sentinel } from './scenarios/sentinel.mjs';
import { slow } from './scenarios/slow.mjs';
import { store } from './scenarios/store.mjs';
import { storm } from './scenarios/storm.mjs';

/** Round after round; those of one round run side by side, as all but the first of them mostly wait. */
export const rounds = [
  [storm, slow, revocation],
  [crashes],
  [crashesGrace],
  [outage],
  [store],
  [logout],
  [answers, sentinel, cluster],
  [peer],
];

/** In the short form so many at a time, those that take longest first. */
export const lanesOfShort = 4;
export const shortOrder = [
  peer,
  store,
  revocation,
  outage,
  answers,
  crashes,
  crashesGrace,
  storm,
  slow,
  sentinel,
  cluster,
  logout,
];
