import { consoleCases } from './console-cases.ts';
import { errorCases } from './error-cases.ts';
import { type PageCase, press } from './page-case.ts';
import { profileCases } from './profile-cases.ts';
import { savedFormCases } from './saved-form-cases.ts';
import { sessionCases } from './session-cases.ts';
import { signIn, signInAtProvider } from './sign-in.ts';

const publicCases: readonly PageCase[] = [
  { name: 'home', status: 200, user: 'none', open: (page) => page.goto('/') },
  { name: 'home-signed-in', status: 200, user: 'alice', open: (page) => page.goto('/') },
  { name: 'sign-in', status: 200, user: 'none', open: (page) => page.goto('/auth/sign-in') },
];

const signOutCases: readonly PageCase[] = [
  { name: 'sign-out', status: 200, user: 'alice', open: (page) => page.goto('/auth/logout') },
  {
    name: 'signing-out',
    status: 200,
    user: 'none', // signs in itself, because it ends the session
    async open(page, world, t) {
      await signIn(page);
      await page.route(`${world.provider.issuer}/session/end**`, (route) => route.abort('aborted'));
      await press(page, t('common.sign_out'));
      await page.getByRole('heading', { name: t('signing_out.heading') }).waitFor();
    },
  },
  { name: 'signed-out', status: 200, user: 'none', open: (page) => page.goto('/auth/signed-out') },
];

const providerCases: readonly PageCase[] = [
  {
    name: 'provider-sign-in',
    status: 200,
    user: 'none',
    open: (page) => page.goto('/auth/login'),
  },
  {
    name: 'provider-consent',
    status: 200,
    user: 'none',
    async open(page) {
      await page.goto('/auth/login');
      await signInAtProvider(page, 'bob');
      await page.locator('button[value=allow]').waitFor();
    },
  },
  {
    name: 'provider-sign-out',
    status: 200,
    user: 'none',
    open: (page, world) => page.goto(`${world.provider.issuer}/session/end`),
  },
];

export const pageCases: readonly PageCase[] = [
  ...publicCases,
  ...profileCases,
  ...sessionCases,
  ...consoleCases,
  ...savedFormCases,
  ...signOutCases,
  ...errorCases,
  ...providerCases,
];
