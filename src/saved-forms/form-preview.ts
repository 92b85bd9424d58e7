import type { SavedForm } from './saved-forms.ts';

/** The content of a saved form, for its user to recognise: the fields of a urlencoded body, else the text of a JSON body. */
export interface FormPreview {
  readonly fields: readonly { readonly name: string; readonly value: string }[];
  readonly text: string | undefined;
}

const maxNameLength = 60;
const maxValueLength = 200;
const maxTextLength = 4_000;
const maxFields = 100;

/** A preview of limited length. Nothing in it is HTML-escaped. */
export function createFormPreview({
  contentType,
  body,
}: Pick<SavedForm, 'contentType' | 'body'>): FormPreview {
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
    return text; // not JSON, whatever its content type says; the API will reject it
  }
}
