import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';
import type { World } from './world.ts';

/** A user with a browser of their own: one cookie jar, any number of tabs. */
export interface Visitor {
  readonly context: BrowserContext;
  /** Opens a tab, and navigates it to `address` if given. */
  openTab(address?: string): Promise<Page>;
  /** Declares the error statuses this test expects; any other, and any that does not occur, fails the test. */
  expectStatus(...statuses: readonly number[]): void;
}

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

import.meta.jest.setTimeout(120_000); // many pages on a busy machine
const stepTimeoutMs = 30_000; // shorter than the test's, so that the failing step is reported

function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.TEST_CHROMIUM!,
    args: flags,
    ignoreDefaultArgs: ['--disable-back-forward-cache'], // pages of an ended session must not be restored from it
  });
}

let launched: Promise<Browser> | undefined;
const visitors: { readonly context: BrowserContext; errors(): readonly string[] }[] = [];

/**
 * A new user of this world, in the Chromium of this test file. Any error on their pages (a message on the console, a
 * CSP violation, a request to another origin except navigations to `otherOrigins`) fails the test.
 */
export async function visit(
  world: World,
  options: BrowserContextOptions = {},
  otherOrigins: readonly string[] = [],
): Promise<Visitor> {
  launched ??= launch();
  const context = await (await launched).newContext({ baseURL: world.origin, ...options });
  context.setDefaultTimeout(stepTimeoutMs);
  const watch = watchForErrors(context, world, otherOrigins);
  visitors.push({ context, errors: watch.errors });
  return {
    context,
    async openTab(address) {
      const page = await context.newPage();
      if (address !== undefined) await page.goto(address);
      return page;
    },
    expectStatus: watch.expectStatus,
  };
}

afterEach(async () => {
  const errors = [];
  for (const { context, errors: errorsOf } of visitors.splice(0)) {
    await context.close();
    errors.push(...errorsOf());
  }
  expect(errors).toEqual([]);
});
afterAll(async () => (await launched)?.close());

const failedResource = /^Failed to load resource: the server responded with a status of (\d+)/;

/** Chromium itself reports CSP violations and error responses on the console, also without JavaScript. */
function watchForErrors(context: BrowserContext, world: World, otherOrigins: readonly string[]) {
  const errors: string[] = [];
  const expected = new Set<number>();
  const seen = new Set<number>();
  context.on('console', (message) => {
    const status = Number(failedResource.exec(message.text())?.[1]);
    seen.add(status);
    if ((message.type() === 'error' || message.type() === 'warning') && !expected.has(status))
      errors.push(`${message.type()} on ${message.location().url}: ${message.text()}`);
  });
  context.on('weberror', (error) =>
    errors.push(`exception on ${error.page()?.url()}: ${error.error().stack}`),
  );
  context.on('request', (request) => {
    const { origin } = new URL(request.url());
    const isProviderPage =
      [world.provider.issuer, ...otherOrigins].includes(origin) && request.isNavigationRequest();
    if (origin !== world.origin && !isProviderPage)
      errors.push(`request to another origin: ${request.url()}`);
  });
  return {
    expectStatus(...statuses: readonly number[]) {
      for (const each of statuses) expected.add(each);
    },
    errors: () => [
      ...errors,
      ...[...expected]
        .filter((each) => !seen.has(each))
        .map((each) => `no response had the expected status ${each}`),
    ],
  };
}
