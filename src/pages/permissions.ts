import { findScopeLabel, type ScopeLabels } from '../config/pages/scope-labels.ts';
import type { TokenPanel } from './token-panel.ts';

/** A scope, as its user sees it. */
export interface Permission {
  readonly scope: string;
  /** What it allows, in the language of the page, if the operator has said so. */
  readonly label: string | undefined;
  /** Where the user can grant it; absent for a permission that is granted. */
  readonly grantUrl: string | undefined;
}

/** What the user allows the app, and what a route or the login would need in addition. */
export function describePermissions(
  { scopes }: TokenPanel,
  labels: ScopeLabels,
  lang: string,
): { readonly granted: readonly Permission[]; readonly missing: readonly Permission[] } {
  const all = scopes.map(({ name, grantUrl }) => ({
    scope: name,
    label: findScopeLabel(labels, name, lang),
    grantUrl,
  }));
  return {
    granted: all.filter(({ grantUrl }) => grantUrl === undefined),
    missing: all.filter(({ grantUrl }) => grantUrl !== undefined),
  };
}
