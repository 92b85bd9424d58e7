import type { TokenSet } from '../oauth/token-set.ts';

export interface ClientCredentialsManager {
  current(scope: readonly string[]): Promise<TokenSet>;
  renewed(scope: readonly string[], refused: TokenSet): Promise<TokenSet>;
}
