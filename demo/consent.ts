import type { default as OidcProvider } from 'oidc-provider';
import { interactionPolicy } from './quiet-oidc-provider.ts';
import { describeScopes } from './scopes.ts';

export type Interaction = Awaited<ReturnType<OidcProvider['interactionDetails']>>;

/**
 * The library's prompts, except that denied scopes are not remembered: they are simply not granted, so the next
 * authorization request for one of them shows the consent page again (step-up). Within one authorization request, the
 * user decides only once.
 */
export function createInteractionPolicy(): ReturnType<typeof interactionPolicy.base> {
  const policy = interactionPolicy.base();
  const scopesMissing = policy.get('consent')?.checks.get('op_scopes_missing');
  if (scopesMissing === undefined) throw new Error('oidc-provider no longer has the op_scopes_missing check');
  const isMissing = scopesMissing.check;
  scopesMissing.check = (ctx) => ctx.oidc.result?.consent === undefined && isMissing(ctx);
  return policy;
}

/** The requested scopes of this interaction that the provider supports: those the user has to decide on, and those already granted. */
export function splitRequestedScopes(
  interaction: Interaction,
  supported: ReadonlySet<string>,
): {
  readonly pending: readonly string[];
  readonly alreadyGranted: readonly string[];
} {
  const { params, prompt } = interaction;
  const requested = describeScopes(
    String(params.scope ?? '')
      .split(' ')
      .filter((scope) => supported.has(scope)),
  ).map(({ name }) => name);
  if (prompt.reasons.includes('consent_prompt')) return { pending: requested, alreadyGranted: [] };
  const missing = prompt.details.missingOIDCScope;
  const pending = requested.filter((scope) => Array.isArray(missing) && missing.includes(scope));
  return { pending, alreadyGranted: requested.filter((scope) => !pending.includes(scope)) };
}

/**
 * Saves the user's decision and returns the grant id, or `undefined` when no scope is granted. Scopes that were granted
 * before and are not part of this decision stay granted. An existing grant is only ever extended; allowing less than
 * before creates a new one, so tokens already issued keep their scopes.
 */
export async function saveGrant(
  provider: OidcProvider,
  interaction: Interaction,
  denied: ReadonlySet<string>,
  supported: ReadonlySet<string>,
): Promise<string | undefined> {
  const accountId = interaction.session?.accountId;
  const clientId = interaction.params.client_id;
  if (accountId === undefined || typeof clientId !== 'string')
    throw new Error('consent interaction has no account or client');
  const { pending } = splitRequestedScopes(interaction, supported);
  const allowed = describeScopes(pending).filter(({ name, optional }) => !optional || !denied.has(name));

  const existingGrant =
    interaction.grantId === undefined ? undefined : await provider.Grant.find(interaction.grantId);
  const oldScopes = existingGrant?.getOIDCScope().split(' ').filter(Boolean) ?? [];
  const newScopes = new Set([
    ...oldScopes.filter((scope) => !pending.includes(scope)),
    ...allowed.map(({ name }) => name),
  ]);
  if (newScopes.size === 0) return undefined;

  const canExtend = existingGrant !== undefined && oldScopes.every((scope) => newScopes.has(scope));
  const grant = canExtend ? existingGrant : new provider.Grant({ accountId, clientId });
  grant.addOIDCScope([...newScopes].join(' '));
  return grant.save();
}
