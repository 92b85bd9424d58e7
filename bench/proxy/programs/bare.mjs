// A pass-through without sessions: node:http and undici.
import { createServer } from 'node:http';
import { createForward } from './forward.mjs';
import { announce } from './listening.mjs';

const forward = createForward(process.env.API_URL);

announce(createServer((req, res) => forward(req, res)));
