import { deflateSync, inflateSync } from 'node:zlib';
import type { TextEncoding } from '../crypto/sealing.ts';

/** More than any record: a response of the provider has at most 1 MiB. */
const maxTextBytes = 16 * 1024 * 1024;

/**
 * What most token records contain, the most frequent last. Compressed bytes contain a checksum of it, so records that were
 * compressed with another dictionary cannot be read, like those of another `formatVersion`.
 */
const dictionary = Buffer.from(
  [
    '"replacedId":""replacedAt":"loginHint":""acrValues":""maxAge":0,',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Mobile/15E148 Safari/604.1',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15',
    'Mozilla/5.0 (Linux; Android 10; K) Mobile Safari/537.36',
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    '{"tokens":{"accessToken":"eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsImtpZCI6I',
    '","tokenType":"bearer","scope":["openid","profile","email","offline_access"],"issuedAt":17,"expiresAt":17,',
    '"refreshToken":"","idToken":"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6I"},',
    '"user":{"sub":"","name":"","email":"@gmail.com","picture":"https://"},"signedInAt":17,',
    '"requested":{"scope":["openid","profile","email"]},',
    '"identity":{"issuer":"https://","subject":"","nonce":"","sid":"","acr":"1","authTime":17},"userAgent":"',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    '","v":1}',
  ].join(''),
);

/**
 * Compressed text (zlib, RFC 1950), for token records: encrypted bytes cannot be compressed any more. The length of a
 * record then depends on what repeats within it. This reveals no token, because a record contains only data of one user,
 * and nobody who can choose a part of it sees its length.
 */
export const compressedText: TextEncoding = {
  encode: (text) => deflateSync(text, { dictionary }),
  decode: (bytes) => inflateSync(bytes, { dictionary, maxOutputLength: maxTextBytes }).toString(),
};
