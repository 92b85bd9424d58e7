/** An access token (RFC 6750), and the way to another one. */
export interface TokenSource {
  readonly accessToken: string;
  /** The session it belongs to; absent when it is the application's own. */
  readonly sessionId?: string;
  /**
   * One in its place, as an API has refused it; asked for once for all who hold it. `undefined` when there is none to be
   * had without signing in. Absent when an API has refused what came before it, too, only a moment ago: then it is not
   * the token, and what the API says is the answer.
   */
  readonly replace?: () => Promise<TokenSource | undefined>;
}
