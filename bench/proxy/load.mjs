import { text } from 'node:stream/consumers';
import { startProcess } from '../chaos/harness/processes.mjs';

/** What a browser sends with a call of a script to its own origin. */
const browserHeaders = {
  accept: '*/*',
  'accept-encoding': 'gzip, deflate, br, zstd',
  'accept-language': 'en-GB,en;q=0.9,de;q=0.8',
  'user-agent':
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  'sec-ch-ua': '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
  'sec-ch-ua-mobile': '?0',
  'sec-ch-ua-platform': '"Linux"',
  'sec-fetch-dest': 'empty',
  'sec-fetch-mode': 'cors',
  'sec-fetch-site': 'same-origin',
};

export const headersFor = ({ host }) => ({
  ...browserHeaders,
  host,
  referer: `http://${host}/`,
});

/**
 * Sends requests to a contestant from a process of its own.
 * @param {string} worker the path of programs/load-worker.mjs, which describes the options and the result
 */
export async function runLoad(worker, contestant, { seconds, connections, rate }) {
  const targets = contestant.origins.map((origin) => ({
    url: `${origin}/api/profile`,
    cookies: contestant.cookies,
  }));
  const child = startProcess('load', process.execPath, [worker], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify({ targets, headers: headersFor(contestant), connections, seconds, rate }));
  const output = await text(child.stdout);
  if (output === '') throw new Error('the load process exited without a result');
  return JSON.parse(output);
}
