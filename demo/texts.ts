import type { IncomingMessage } from 'node:http';
import Negotiator from 'negotiator';

const english = {
  lang: 'en',
  badge: 'for trying things out. Nothing here is real.',
  signIn: 'Sign in',
  toContinue: 'to continue to',
  username: 'Username',
  password: 'Password',
  users: 'Sign in as alice or bob, with any password.',
  cancel: 'Cancel',
  unknownUser: 'There is no such user. Try alice or bob.',
  passwordMissing: 'Enter any password.',
  allowQuestion: 'Allow access?',
  signedInAs: 'You are signed in as',
  wantsTo: 'would like to:',
  alreadyAllowed: 'Already allowed:',
  allow: 'Allow',
  deny: 'Deny',
  expired: 'This page has expired',
  startAgain: 'Go back to the app and sign in again from there.',
  signOutQuestion: 'Sign out of Demo ID too?',
  signOut: 'Sign out',
  staySignedIn: 'Stay signed in',
  signedOutOf: "You've signed out of",
  whyToo: 'If you stay signed in here, the next sign-in needs no password.',
  done: 'Done',
  canClose: 'You can close this page.',
  failed: 'Something went wrong',
  scopes: {
    openid: 'know who you are',
    profile: 'see your name',
    email: 'see your email address',
    offline_access: 'keep its access while you are away',
    'read:profile': 'see your membership',
    'read:data': 'see your list',
    'write:data': 'add to your list',
  } as Readonly<Record<string, string>>,
  otherScope: 'use your API',
};

/** The texts of the pages in one language. */
export type Texts = Readonly<typeof english>;

const german: Texts = {
  lang: 'de',
  badge: 'zum Ausprobieren. Nichts hier ist echt.',
  signIn: 'Anmelden',
  toContinue: 'Weiter zu',
  username: 'Benutzername',
  password: 'Passwort',
  users: 'Melden Sie sich als alice oder bob an, mit einem beliebigen Passwort.',
  cancel: 'Abbrechen',
  unknownUser: 'Diesen Benutzer gibt es nicht. Versuchen Sie alice oder bob.',
  passwordMissing: 'Geben Sie ein beliebiges Passwort ein.',
  allowQuestion: 'Zugriff erlauben?',
  signedInAs: 'Sie sind angemeldet als',
  wantsTo: 'möchte:',
  alreadyAllowed: 'Bereits erlaubt:',
  allow: 'Erlauben',
  deny: 'Ablehnen',
  expired: 'Diese Seite ist abgelaufen',
  startAgain: 'Gehen Sie zurück zur App und melden Sie sich dort erneut an.',
  signOutQuestion: 'Auch bei Demo ID abmelden?',
  signOut: 'Abmelden',
  staySignedIn: 'Angemeldet bleiben',
  signedOutOf: 'Sie haben sich abgemeldet von',
  whyToo: 'Wenn Sie hier angemeldet bleiben, brauchen Sie bei der nächsten Anmeldung kein Passwort.',
  done: 'Fertig',
  canClose: 'Sie können diese Seite schließen.',
  failed: 'Etwas ist schiefgegangen',
  scopes: {
    openid: 'wissen, wer Sie sind',
    profile: 'Ihren Namen sehen',
    email: 'Ihre E-Mail-Adresse sehen',
    offline_access: 'den Zugriff behalten, während Sie nicht da sind',
    'read:profile': 'Ihre Mitgliedschaft sehen',
    'read:data': 'Ihre Liste sehen',
    'write:data': 'Ihre Liste ergänzen',
  },
  otherScope: 'Ihre API benutzen',
};

const french: Texts = {
  lang: 'fr',
  badge: 'pour faire des essais. Rien ici n’est réel.',
  signIn: 'Se connecter',
  toContinue: 'pour continuer vers',
  username: 'Nom d’utilisateur',
  password: 'Mot de passe',
  users: 'Connectez-vous en tant que alice ou bob, avec n’importe quel mot de passe.',
  cancel: 'Annuler',
  unknownUser: 'Cet utilisateur n’existe pas. Essayez alice ou bob.',
  passwordMissing: 'Saisissez n’importe quel mot de passe.',
  allowQuestion: 'Autoriser l’accès\u202f?',
  signedInAs: 'Vous êtes connecté en tant que',
  wantsTo: 'souhaite\u202f:',
  alreadyAllowed: 'Déjà autorisé\u202f:',
  allow: 'Autoriser',
  deny: 'Refuser',
  expired: 'Cette page a expiré',
  startAgain: 'Retournez dans l’application et reconnectez-vous à partir de là.',
  signOutQuestion: 'Se déconnecter aussi de Demo ID\u202f?',
  signOut: 'Se déconnecter',
  staySignedIn: 'Rester connecté',
  signedOutOf: 'Vous vous êtes déconnecté de',
  whyToo: 'Si vous restez connecté ici, la prochaine connexion ne demandera pas de mot de passe.',
  done: 'Terminé',
  canClose: 'Vous pouvez fermer cette page.',
  failed: 'Une erreur est survenue',
  scopes: {
    openid: 'savoir qui vous êtes',
    profile: 'voir votre nom',
    email: 'voir votre adresse e-mail',
    offline_access: 'garder son accès en votre absence',
    'read:profile': 'voir votre adhésion',
    'read:data': 'voir votre liste',
    'write:data': 'compléter votre liste',
  },
  otherScope: 'utiliser votre API',
};

const spanish: Texts = {
  lang: 'es',
  badge: 'para hacer pruebas. Aquí nada es real.',
  signIn: 'Iniciar sesión',
  toContinue: 'para continuar en',
  username: 'Nombre de usuario',
  password: 'Contraseña',
  users: 'Inicia sesión como alice o bob, con cualquier contraseña.',
  cancel: 'Cancelar',
  unknownUser: 'Ese usuario no existe. Prueba con alice o bob.',
  passwordMissing: 'Escribe cualquier contraseña.',
  allowQuestion: '¿Permitir el acceso?',
  signedInAs: 'Has iniciado sesión como',
  wantsTo: 'quiere:',
  alreadyAllowed: 'Ya permitido:',
  allow: 'Permitir',
  deny: 'Rechazar',
  expired: 'Esta página ha caducado',
  startAgain: 'Vuelve a la aplicación e inicia sesión de nuevo desde allí.',
  signOutQuestion: '¿Cerrar sesión también en Demo ID?',
  signOut: 'Cerrar sesión',
  staySignedIn: 'Mantener la sesión',
  signedOutOf: 'Has cerrado sesión en',
  whyToo: 'Si mantienes la sesión aquí, la próxima vez no hará falta contraseña.',
  done: 'Listo',
  canClose: 'Puedes cerrar esta página.',
  failed: 'Algo ha fallado',
  scopes: {
    openid: 'saber quién eres',
    profile: 'ver tu nombre',
    email: 'ver tu correo electrónico',
    offline_access: 'conservar su acceso cuando no estés',
    'read:profile': 'ver tu suscripción',
    'read:data': 'ver tu lista',
    'write:data': 'añadir a tu lista',
  },
  otherScope: 'usar tu API',
};

const languages = new Map([english, german, french, spanish].map((texts) => [texts.lang, texts]));

/** The texts in the language that the browser prefers. */
export function chooseTexts(req: Pick<IncomingMessage, 'headers'>): Texts {
  const lang = new Negotiator(req).language([...languages.keys()]);
  return languages.get(lang ?? english.lang) ?? english;
}

/** OAUTH2_SCOPE_LABELS for the scopes of the demo API, in every language. */
export function createScopeLabels(): string {
  const capitalize = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
  const names = Object.keys(english.scopes).filter((name) => name.includes(':'));
  const labels = names.map((name) => [
    name,
    Object.fromEntries([...languages].map(([lang, { scopes }]) => [lang, capitalize(scopes[name] ?? name)])),
  ]);
  return JSON.stringify(Object.fromEntries(labels));
}
