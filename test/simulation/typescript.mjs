// Lets Node 20 import the TypeScript files of the simulation: `node --import ./test/simulation/typescript.mjs …`.
import { register } from 'node:module';

register('./typescript-hooks.mjs', import.meta.url);
