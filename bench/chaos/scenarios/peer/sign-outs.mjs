import { randomBetween } from '../../harness/random.mjs';
import { delay, waitFor } from '../../harness/wait-for.mjs';
import { findUsableTokens } from '../usable-tokens.mjs';
import { createResult, formatStatuses, lifetimes, signIn } from './common.mjs';

/** Users sign out on one process while nothing else happens. */
export async function signOut(deployment, { users: count, backgroundMs }) {
  const users = await signIn(deployment, count, 'steady-leaver');
  const { alive, opens } = await signOutAll(deployment, users, backgroundMs, (user) =>
    signOutEverywhere(user, deployment.instances[1]),
  );
  return { quietAlive: alive, quietOpens: opens };
}

/** Users sign out on one process after the provider made a grant, but before its response reaches the other process. */
export async function signOutDuringRefresh(deployment, { users: count, backgroundMs }) {
  const { provider, instances } = deployment;
  const users = await signIn(deployment, count, 'brief-leaver');
  await delay(lifetimes.brief * 1000 + 50);
  await provider.setFaults({ path: 'token', delayAfterMs: [300, 400] });
  const results = await signOutAll(deployment, users, backgroundMs, async (user) => {
    const call = user.callApi(instances[0]);
    await delay(randomBetween(100, 200));
    await signOutEverywhere(user, instances[1]);
    await call;
  });
  await provider.setFaults();
  return results;
}

/** Signs out in the app, and at the provider when the app redirects there. */
async function signOutEverywhere(user, instance) {
  await user.signOutAtProvider(await user.signOut(instance));
}

/** Signs out all users, and checks what is left: usable tokens at the provider, and access with the old cookies. */
async function signOutAll({ provider, instances }, users, backgroundMs, signOutUser) {
  for (const user of users) user.oldCookies = new Map(user.cookies);
  await Promise.all(users.map(signOutUser));
  const names = users.map(({ name }) => name);
  let active;
  await waitFor(
    async () => {
      ({ active } = await findUsableTokens(provider, names));
      return active.length === 0;
    },
    backgroundMs,
    250,
  );
  const owners = new Set(active.map(({ account }) => account)).size;
  const withOldCookies = async (send) => {
    const results = [];
    for (const user of users) {
      user.cookies = new Map(user.oldCookies);
      results.push(await send(user));
    }
    return results;
  };
  const sessions = await withOldCookies((user) => user.isSignedIn(instances[0]));
  const signedIn = sessions.filter((isSignedIn) => isSignedIn).length;
  const calls = await withOldCookies((user) => user.callApi(instances[1]));
  const all = users.length;
  return {
    alive: createResult(`${active.length} tokens, of ${owners} of ${all} users`, active.length === 0),
    session: createResult(`${signedIn} of ${all}`, signedIn === 0),
    opens: createResult(
      formatStatuses(calls),
      calls.every(({ status }) => status === 401),
    ),
  };
}
