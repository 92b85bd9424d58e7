import { readFileSync } from 'node:fs';
import { type ParsedJson, parseJson } from './json-text.ts';

/** The content of `API_ROUTES_FILE`, or what is wrong with it. */
export function readRoutesFile(path: string): ParsedJson | { readonly problem: string } {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    return { problem: `cannot be read: ${error}` };
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return { problem: 'is not UTF-8 text' };
  }
  const parsed = parseJson(text);
  return 'problem' in parsed ? { problem: `is not valid JSON: ${parsed.problem}` } : parsed;
}
