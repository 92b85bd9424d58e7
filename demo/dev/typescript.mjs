// Lets Node 20 import TypeScript without a type check: `node --import ./demo/dev/typescript.mjs …`.
import { register } from 'node:module';

register('./typescript-hooks.mjs', import.meta.url);
