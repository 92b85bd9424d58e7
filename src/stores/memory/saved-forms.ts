import {
  checkSavedFormLimits,
  getRemainingMs,
  type SavedForm,
  type SavedForms,
} from '../../saved-forms/saved-forms.ts';
import { type HandOverMap, notHandedOver } from './hand-over.ts';

/** What a form takes in addition to its texts and its body, roughly. */
const overheadBytes = 512;

/** Saved forms in the memory of this process, at most `maxBytes` of them. */
export function createMemorySavedForms(
  now: () => number,
  maxBytes: number,
  handOver: HandOverMap = notHandedOver,
): SavedForms {
  const forms = handOver('saved-forms', new Map<string, SavedForm>());

  function getUnexpired(id: string): SavedForm | undefined {
    const form = forms.get(id);
    return form && getRemainingMs(form, now()) > 0 ? form : undefined;
  }

  return {
    async put(id, form) {
      for (const [each, saved] of forms) if (getRemainingMs(saved, now()) <= 0) forms.delete(each);
      if (getRemainingMs(form, now()) <= 0) return;
      const all = [...forms].filter(([each]) => each !== id).map(([, saved]) => saved);
      const ofUser = all.filter(({ userTag }) => userTag === form.userTag);
      const usage = {
        formsOfUser: ofUser.length + 1,
        bytesOfUser: sum([...ofUser, form]),
        forms: all.length + 1,
        bytes: sum([...all, form]),
      };
      checkSavedFormLimits(usage, maxBytes);
      forms.set(id, form);
    },
    peek: async (id) => getUnexpired(id),
    async take(id) {
      const form = getUnexpired(id);
      forms.delete(id);
      return form;
    },
  };
}

function sum(forms: readonly SavedForm[]): number {
  return forms.reduce(
    (bytes, { body, url, contentType }) =>
      bytes + body.length + url.length + contentType.length + overheadBytes,
    0,
  );
}
