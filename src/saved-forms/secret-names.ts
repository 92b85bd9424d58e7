/** What a preview shows instead of a secret; its length says nothing about the secret. */
export const hiddenValue = '••••••••';

/** Words that name a secret, alone or as a part of a name: `newPassword`, `card[cvc]`, `user_pin`. */
const secretWords =
  /^(.*(passw|passphrase|passcode|apikey|privatekey|credential|kennwort|motdepasse|contrasena).*|.*(secret|token)s?|pwd|pass|pw|pin|puk|cvc2?|cvv2?|csc|otp|totp|ssn|authorization|csrf|xsrf)$/;
const maxComparedLength = 200;

/** True when the value of a field with this name is probably a secret. */
export function isSecretName(name: string): boolean {
  const words = name
    .slice(0, maxComparedLength)
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z\d]+/)
    .filter(Boolean);
  return words.some((word) => secretWords.test(word)) || secretWords.test(words.join(''));
}

/** Text that resembles JSON, with the values of secret members hidden. */
export function hideSecretsInText(text: string): string {
  return text.replace(
    /(["']?)([\w .-]{1,60})\1(\s{0,10}[:=]\s{0,10})("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,}\]&]+)/g,
    (whole, quote, name, separator) =>
      isSecretName(name) ? `${quote}${name}${quote}${separator}"${hiddenValue}"` : whole,
  );
}
