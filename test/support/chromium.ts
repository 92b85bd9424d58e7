import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';
import type { World } from './world.ts';

/** A person at a browser of their own: cookies nobody else has, in as many tabs as they open. */
export interface Visitor {
  readonly context: BrowserContext;
  /** A new tab, at `address` when one is given. */
  openTab(address?: string): Promise<Page>;
  /** Says that pages of this test will be answered with these statuses, which otherwise is a fault. */
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

import.meta.jest.setTimeout(120_000); // a walk through many pages, on a busy machine
const stepTimeoutMs = 30_000; // so that the step that failed is named

function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.TEST_CHROMIUM!,
    args: flags,
    ignoreDefaultArgs: ['--disable-back-forward-cache'], // a page must not come back from there that has ended
  });
}

let launched: Promise<Browser> | undefined;
const visitors: { readonly context: BrowserContext; faults(): readonly string[] }[] = [];

/**
 * Someone who visits this world with the Chromium of this test file. Whatever goes wrong on their pages, seen or
 * unseen (an error on the console, a violation of the CSP, a request to another origin), fails the test.
 */
export async function visit(world: World, options: BrowserContextOptions = {}): Promise<Visitor> {
  launched ??= launch();
  const context = await (await launched).newContext({ baseURL: world.origin, ...options });
  context.setDefaultTimeout(stepTimeoutMs);
  const watch = watchFor(context, world);
  visitors.push({ context, faults: watch.faults });
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
  const faults = [];
  for (const { context, faults: faultsOf } of visitors.splice(0)) {
    await context.close();
    faults.push(...faultsOf());
  }
  expect(faults).toEqual([]);
});
afterAll(async () => (await launched)?.close());

const refused = /^Failed to load resource: the server responded with a status of (\d+)/;

/** Chromium itself says on the console what a CSP forbade and which answer was an error, also without JavaScript. */
function watchFor(context: BrowserContext, world: World) {
  const said: string[] = [];
  const expected = new Set<number>();
  const seen = new Set<number>();
  context.on('console', (message) => {
    const status = Number(refused.exec(message.text())?.[1]);
    seen.add(status);
    if ((message.type() === 'error' || message.type() === 'warning') && !expected.has(status))
      said.push(`${message.type()} on ${message.location().url}: ${message.text()}`);
  });
  context.on('weberror', (error) => said.push(`thrown on ${error.page()?.url()}: ${error.error().stack}`));
  context.on('request', (request) => {
    const { origin } = new URL(request.url());
    const isProviders = origin === world.provider.issuer && request.isNavigationRequest();
    if (origin !== world.origin && !isProviders) said.push(`a request to another origin: ${request.url()}`);
  });
  return {
    expectStatus(...statuses: readonly number[]) {
      for (const each of statuses) expected.add(each);
    },
    faults: () => [
      ...said,
      ...[...expected].filter((each) => !seen.has(each)).map((each) => `no answer had the status ${each}`),
    ],
  };
}
