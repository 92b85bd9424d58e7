import { createResult } from './common.mjs';

/** Three tabs of one browser start to sign in, and finish in both orders. */
export async function threeTabs(deployment) {
  return {
    backward: await signInWithTabs(deployment, 'steady-backward', [2, 1, 0]),
    forward: await signInWithTabs(deployment, 'steady-forward', [0, 1, 2]),
  };
}

/** Starts one sign-in per tab, and finishes them in the given order of tab indexes. */
async function signInWithTabs(deployment, name, order) {
  const { instances } = deployment;
  const user = deployment.browser(name);
  user.expectsChanges = true;
  const started = [];
  for (const index of order.keys()) started.push(await user.startSignIn(instances[index % 2]));
  const results = [];
  for (const index of order) {
    const { status } = await user.finishSignIn(instances[index % 2], started[index]);
    const isSignedIn = await user.isSignedIn(instances[0]);
    results.push({ status, isSignedIn });
  }
  return createResult(
    results
      .map(({ status, isSignedIn }) => `${status} ${isSignedIn ? 'signed in' : 'not signed in'}`)
      .join(', '),
    results.every(({ status, isSignedIn }) => isSignedIn && (status === 302 || status === 303)),
  );
}
