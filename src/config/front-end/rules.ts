import { isLoopback } from '../field-types.ts';
import type { ConfigProblem, Values } from '../fields.ts';
import { findFolderProblem } from './folder.ts';

/** The problems of the settings of the front end that are not valid together. Any value may be missing. */
export function checkFrontEndRules(values: Partial<Values>): ConfigProblem[] {
  const { APP_DIR, APP_URL, APP_REQUIRES_LOGIN, APP_CSP, OAUTH2_REDIRECT_URI, PORT } = values;
  const problems: ConfigProblem[] = [];
  const folderProblem = APP_DIR === undefined ? undefined : findFolderProblem(APP_DIR);
  if (folderProblem !== undefined) problems.push({ variable: 'APP_DIR', message: folderProblem });
  if (APP_DIR !== undefined && APP_URL)
    problems.push({ variable: 'APP_URL', message: 'cannot be set together with APP_DIR: set one of them' });
  if (APP_URL && isItself(APP_URL, OAUTH2_REDIRECT_URI, PORT))
    problems.push({
      variable: 'APP_URL',
      message: 'is the address of Latchkey itself: set the address of your development server or app',
    });
  if (APP_DIR === undefined && !APP_URL) {
    const message = 'has no effect without a front end: set APP_DIR or APP_URL, or remove it';
    if (APP_REQUIRES_LOGIN) problems.push({ variable: 'APP_REQUIRES_LOGIN', message });
    if (APP_CSP !== undefined) problems.push({ variable: 'APP_CSP', message });
  }
  return problems;
}

/** Requests would be forwarded in a circle. */
function isItself(appUrl: URL, redirectUri: URL | undefined, port: number | undefined): boolean {
  const appPort = Number(appUrl.port || (appUrl.protocol === 'https:' ? 443 : 80));
  return appUrl.origin === redirectUri?.origin || (isLoopback(appUrl) && appPort === port);
}
