import type { KeptForm } from '../tokens/kept-forms.ts';

/** What a form holds, for its person to recognise: its fields, or else its text. */
export interface FormFields {
  readonly fields: readonly { readonly name: string; readonly value: string }[];
  readonly text: string | undefined;
}

const longestName = 60;
const longestValue = 200;
const longestText = 4_000;
const mostFields = 100;

/** The body of a kept form in readable pieces, none of them long. Nothing in it is escaped yet. */
export function readFormFields({ contentType, body }: Pick<KeptForm, 'contentType' | 'body'>): FormFields {
  const text = body.toString('utf8');
  if (contentType.trim().toLowerCase().startsWith('application/json'))
    return { fields: [], text: shortened(pretty(text), longestText) };
  const fields = [...new URLSearchParams(text)].slice(0, mostFields).map(([name, value]) => ({
    name: shortened(name, longestName),
    value: shortened(value, longestValue),
  }));
  return { fields, text: undefined };
}

function shortened(text: string, longest: number): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text; // whatever it calls itself, it is not JSON; the API will say so
  }
}
