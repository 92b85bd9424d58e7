import { AppError } from '../../errors.ts';
import {
  getRemainingMs,
  maxFormsPerSession,
  type SavedForm,
  type SavedForms,
} from '../../saved-forms/saved-forms.ts';

const maxForms = 200;

/** Saved forms in the memory of this process: the newest two hundred. */
export function createMemorySavedForms(now: () => number): SavedForms {
  const forms = new Map<string, SavedForm>();

  function pruneExpired(): void {
    for (const [id, form] of forms) if (getRemainingMs(form, now()) <= 0) forms.delete(id);
    const [oldest] = forms.keys();
    if (oldest !== undefined && forms.size >= maxForms) forms.delete(oldest);
  }

  function getUnexpired(id: string): SavedForm | undefined {
    const form = forms.get(id);
    return form && getRemainingMs(form, now()) > 0 ? form : undefined;
  }

  return {
    async put(id, form) {
      pruneExpired();
      const formsOfSession = [...forms.values()].filter(({ sessionId }) => sessionId === form.sessionId);
      if (formsOfSession.length >= maxFormsPerSession) throw new AppError('too_many_requests');
      if (getRemainingMs(form, now()) > 0) forms.set(id, form);
    },
    peek: async (id) => getUnexpired(id),
    async take(id) {
      const form = getUnexpired(id);
      forms.delete(id);
      return form;
    },
  };
}
