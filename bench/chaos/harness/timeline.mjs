/** The groups of responses that a chart distinguishes; `failed` is every other status, or no response. */
const groupOf = ({ status }) => (status === 200 ? 'succeeded' : status === 503 ? 'unavailable' : 'failed');

/**
 * What happened in each second between two times (ms since 1970): responses by group, and the token requests and grants of
 * refreshes at the provider.
 * @param {{ at: number, status?: number }[]} responses with the times when they ended
 * @param {{ second: number, token: number, refreshed: number }[]} perSecond what the provider counted
 * @param {number} faultUntil when the fault of the scenario ends, which begins at `from`
 * @returns {{ faultSeconds: number, seconds: { succeeded: number, unavailable: number, failed: number, tokenRequests: number,
 *   grants: number }[] }}
 */
export function createTimeline(responses, perSecond, from, to, faultUntil = from) {
  const first = Math.floor(from / 1000);
  const faultSeconds = Math.round((faultUntil - from) / 1000);
  const seconds = Array.from({ length: Math.floor(to / 1000) - first + 1 }, () => ({
    ...{ succeeded: 0, unavailable: 0, failed: 0 },
    ...{ tokenRequests: 0, grants: 0 },
  }));
  const find = (second) => seconds[second - first];
  for (const response of responses) {
    const second = find(Math.floor(response.at / 1000));
    if (second) second[groupOf(response)] += 1;
  }
  for (const { second, token, refreshed } of perSecond) {
    const found = find(second);
    if (found) Object.assign(found, { tokenRequests: token, grants: refreshed });
  }
  return { faultSeconds, seconds };
}
