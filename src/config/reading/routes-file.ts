import { readFileSync } from 'node:fs';

/** The content of `API_ROUTES_FILE`, or what is wrong with it. */
export function readRoutesFile(path: string): { readonly json: unknown } | { readonly problem: string } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return { problem: `cannot be read: ${error}` };
  }
  try {
    return { json: JSON.parse(text) };
  } catch (error) {
    // Only the position: the rest of the error message may quote the file.
    return { problem: `is not valid JSON ${/at position .*/.exec(String(error))?.[0] ?? ''}`.trimEnd() };
  }
}
