import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export type Signer = Awaited<ReturnType<typeof createSigner>>;

/** Signs ID tokens with a new key. */
export async function createSigner() {
  const alg = 'ES256';
  const { publicKey, privateKey } = await generateKeyPair(alg);
  const key = { ...(await exportJWK(publicKey)), kid: 'test-key', alg, use: 'sig' };
  return {
    alg,
    jwks: { keys: [key] },
    sign: (
      claims: Readonly<Record<string, unknown>>,
      { issuer, audience, subject }: Readonly<Record<'issuer' | 'audience' | 'subject', string>>,
    ): Promise<string> =>
      new SignJWT(claims)
        .setProtectedHeader({ alg, kid: key.kid })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(subject)
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey),
  };
}
