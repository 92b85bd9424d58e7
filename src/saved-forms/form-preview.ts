import type { SavedForm } from './saved-forms.ts';

/** What a form holds, for its person to recognise: its fields, or else its text. */
export interface FormFields {
  readonly fields: readonly { readonly name: string; readonly value: string }[];
  readonly text: string | undefined;
}

const maxNameLength = 60;
const maxValueLength = 200;
const maxTextLength = 4_000;
const maxFields = 100;

/** The body of a kept form in readable pieces, none of them long. Nothing in it is escaped yet. */
export function readFormFields({ contentType, body }: Pick<SavedForm, 'contentType' | 'body'>): FormFields {
  const text = body.toString('utf8');
  if (contentType.trim().toLowerCase().startsWith('application/json'))
    return { fields: [], text: truncate(prettyPrint(text), maxTextLength) };
  const fields = [...new URLSearchParams(text)].slice(0, maxFields).map(([name, value]) => ({
    name: truncate(name, maxNameLength),
    value: truncate(value, maxValueLength),
  }));
  return { fields, text: undefined };
}

function truncate(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

function prettyPrint(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text; // whatever it calls itself, it is not JSON; the API will say so
  }
}
