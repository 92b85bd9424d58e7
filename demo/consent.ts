import type { default as OidcProvider } from 'oidc-provider';
import { interactionPolicy } from './quiet-oidc-provider.ts';
import { describeScopes } from './scopes.ts';

export type Interaction = Awaited<ReturnType<OidcProvider['interactionDetails']>>;

/**
 * The library's prompts, but a scope the person left out is not remembered as refused: it is simply not granted, so the
 * next request that names it asks again (step-up). What ends the asking within one request is that an answer was given.
 */
export function consentEveryMissingScope(): ReturnType<typeof interactionPolicy.base> {
  const policy = interactionPolicy.base();
  const scopesMissing = policy.get('consent')?.checks.get('op_scopes_missing');
  if (scopesMissing === undefined)
    throw new Error('oidc-provider no longer asks for missing scopes by this name');
  const isMissing = scopesMissing.check;
  scopesMissing.check = (ctx) => ctx.oidc.result?.consent === undefined && isMissing(ctx);
  return policy;
}

/** The requested scopes of this interaction: to be decided now, and allowed before. */
export function requestedScopes(interaction: Interaction): {
  readonly asked: readonly string[];
  readonly held: readonly string[];
} {
  const { params, prompt } = interaction;
  const requested = describeScopes(String(params.scope ?? '').split(' ')).map(({ name }) => name);
  if (prompt.reasons.includes('consent_prompt')) return { asked: requested, held: [] };
  const missing = prompt.details.missingOIDCScope;
  const asked = requested.filter((scope) => Array.isArray(missing) && missing.includes(scope));
  return { asked, held: requested.filter((scope) => !asked.includes(scope)) };
}

/**
 * The id of the grant that now holds what the person allowed, and what they allowed before and were not asked about.
 * A grant only ever grows; allowing less than before makes a new one, so tokens already given out keep their scopes.
 */
export async function saveGrant(
  provider: OidcProvider,
  interaction: Interaction,
  leftOut: ReadonlySet<string>,
): Promise<string | undefined> {
  const accountId = interaction.session?.accountId;
  const clientId = interaction.params.client_id;
  if (accountId === undefined || typeof clientId !== 'string')
    throw new Error('consent without a person or a client');
  const { asked } = requestedScopes(interaction);
  const allowed = describeScopes(asked).filter(({ name, optional }) => !optional || !leftOut.has(name));

  const existing =
    interaction.grantId === undefined ? undefined : await provider.Grant.find(interaction.grantId);
  const before = existing?.getOIDCScope().split(' ').filter(Boolean) ?? [];
  const after = new Set([
    ...before.filter((scope) => !asked.includes(scope)),
    ...allowed.map(({ name }) => name),
  ]);
  if (after.size === 0) return undefined;

  const grows = existing !== undefined && before.every((scope) => after.has(scope));
  const grant = grows ? existing : new provider.Grant({ accountId, clientId });
  grant.addOIDCScope([...after].join(' '));
  return grant.save();
}
