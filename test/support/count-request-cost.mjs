// Counts what the requests with the path `path` cause in the process, from the arrival of one to that of the next: the async
// resources (node:async_hooks) by type, the writes to each socket and their parts, the Redis commands, and the writes to standard output.
//   node --import 'file:///.../count-request-cost.mjs?path=/api/profile&skip=200&count=200&redis=6379&api=8080' main.js
// `redis` and `api` are the ports of these servers. After `skip` requests, `count` are counted; then the counts of each are
// written to file descriptor 3 as one JSON array. The requests must follow one another on one connection.
import { createHook } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { Socket } from 'node:net';

const options = new URL(import.meta.url).searchParams;
const [skip, count] = ['skip', 'count'].map((name) => Number(options.get(name)));
const path = options.get('path');
const serverPorts = new Map(['redis', 'api'].map((name) => [Number(options.get(name)), name]));

let current = {};
const counted = [];
function add(name) {
  current[name] = (current[name] ?? 0) + 1;
}

const { writeSync } = fs;
let arrivals = 0;
subscribe('http.server.request.start', ({ request }) => {
  if (request.url !== path) return;
  // What was counted until now belongs to the request before this one.
  if (arrivals > skip && arrivals <= skip + count) counted.push(current);
  if (arrivals === skip + count) {
    writeSync(3, JSON.stringify(counted));
    fs.closeSync(3);
  }
  arrivals += 1;
  current = {};
});

createHook({ init: (_id, type) => add(type) }).enable();

fs.writeSync = (descriptor, ...rest) => {
  if (descriptor === 1) add('write to standard output');
  return writeSync(descriptor, ...rest);
};
syncBuiltinESMExports(); // for modules that import it by name

const { _writeGeneric } = Socket.prototype;
/** What every write to a socket goes through, once it is connected. */
Socket.prototype._writeGeneric = function countWrite(isList, data, encoding, done) {
  const peer = this.server ? 'browser' : (serverPorts.get(this.remotePort) ?? 'others');
  add(`write to ${peer}`);
  const parts = isList ? data : [{ chunk: data, encoding }];
  for (const _part of parts) add(`part of a write to ${peer}`);
  if (peer === 'redis') {
    const bytes = Buffer.concat(parts.map(({ chunk, encoding: of }) => Buffer.from(chunk, of)));
    for (const name of commandNames(bytes.toString('latin1'))) add(`Redis command ${name}`);
  }
  return _writeGeneric.call(this, isList, data, encoding, done);
};

/** The names of the commands in a Redis request: arrays of bulk strings, each after its length in bytes. */
function commandNames(text) {
  const names = [];
  let at = 0;
  const readLine = () => {
    const start = at + 1;
    at = text.indexOf('\r\n', start) + 2;
    return Number(text.slice(start, at - 2));
  };
  while (at < text.length) {
    const words = readLine();
    for (let word = 0; word < words; word += 1) {
      const length = readLine();
      if (word === 0) names.push(text.slice(at, at + length).toLowerCase());
      at += length + 2;
    }
  }
  return names;
}
