import { setTimeout as delay } from 'node:timers/promises';

/**
 * @typedef {object} Rule the first that fits a request befalls it
 * @property {'token' | 'revocation'} path
 * @property {string} [via] only requests of this process of the app
 * @property {number} [share] only this share of the requests, 0 to 1
 * @property {number | [number, number]} [delayMs] before processing; a pair is a random range
 * @property {number | [number, number]} [delayAfterMs] the grant has happened, the answer is slow
 * @property {'reset-before' | 'reset-after' | 'hang' | { status: number, headers?: object, body?: string }} [answer]
 */

/** A switch in front of the provider, set over HTTP by the scenarios. */
export function createFaults() {
  /** @type {Rule[]} */
  let rules = [];

  return {
    /** @param {Rule[]} next */
    set(next) {
      rules = next;
    },

    /** Does to a request what the rules say; false when nothing is left for the provider to do. */
    async befall(path, via, req, res) {
      const rule = rules.find(
        (each) =>
          each.path === path &&
          (each.via === undefined || each.via === via) &&
          (each.share === undefined || Math.random() < each.share),
      );
      if (!rule) return true;
      if (rule.delayMs !== undefined) await delay(milliseconds(rule.delayMs));
      if (rule.answer === 'hang') return false;
      if (rule.answer === 'reset-before') {
        req.socket.destroy();
        return false;
      }
      if (typeof rule.answer === 'object') {
        const { status, headers, body = '' } = rule.answer;
        req.resume();
        res.writeHead(status, headers).end(body);
        return false;
      }
      const end = res.end.bind(res);
      if (rule.answer === 'reset-after') res.end = () => req.socket.destroy();
      else if (rule.delayAfterMs !== undefined)
        res.end = (...body) => setTimeout(end, milliseconds(rule.delayAfterMs), ...body);
      return true;
    },
  };
}

function milliseconds(amount) {
  return Array.isArray(amount) ? amount[0] + Math.random() * (amount[1] - amount[0]) : amount;
}
