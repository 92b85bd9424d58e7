import { setTimeout as delay } from 'node:timers/promises';

/**
 * @typedef {object} Rule the first rule that matches a request applies
 * @property {'token' | 'revocation'} path
 * @property {string} [via] only requests from this process of the app
 * @property {number} [share] only this fraction of the requests, 0 to 1
 * @property {number | [number, number]} [delayMs] delay before the provider processes the request; a pair is a random range
 * @property {number | [number, number]} [delayAfterMs] delay after processing (the grant is made), before the response
 * @property {'reset-before' | 'reset-after' | 'hang' | { status: number, headers?: object, body?: string }} [response]
 */

/** Fault injection in front of the provider; scenarios set the rules over HTTP. */
export function createFaults() {
  /** @type {Rule[]} */
  let rules = [];

  return {
    /** @param {Rule[]} next */
    set(next) {
      rules = next;
    },

    /** Applies the first matching rule to a request; false when the provider must not process it. */
    async apply(path, via, req, res) {
      const rule = rules.find(
        (each) =>
          each.path === path &&
          (each.via === undefined || each.via === via) &&
          (each.share === undefined || Math.random() < each.share),
      );
      if (!rule) return true;
      if (rule.delayMs !== undefined) await delay(chooseDelay(rule.delayMs));
      if (rule.response === 'hang') return false;
      if (rule.response === 'reset-before') {
        req.socket.destroy();
        return false;
      }
      if (typeof rule.response === 'object') {
        const { status, headers, body = '' } = rule.response;
        req.resume();
        res.writeHead(status, headers).end(body);
        return false;
      }
      const end = res.end.bind(res);
      if (rule.response === 'reset-after') res.end = () => req.socket.destroy();
      else if (rule.delayAfterMs !== undefined)
        res.end = (...body) => setTimeout(end, chooseDelay(rule.delayAfterMs), ...body);
      return true;
    },
  };
}

function chooseDelay(delayMs) {
  return Array.isArray(delayMs) ? delayMs[0] + Math.random() * (delayMs[1] - delayMs[0]) : delayMs;
}
