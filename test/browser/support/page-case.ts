import type { Page } from 'playwright-core';
import { cookieNames } from '../../support/browser.ts';
import type { PageTexts } from './page-texts.ts';
import type { PagesWorld } from './pages-world.ts';

/** A page that a user can see: it is checked in each language, and shown in the screenshots. */
export interface PageCase {
  readonly name: string;
  /** The status of the page's response. */
  readonly status: number;
  /** Statuses of calls that the page makes, or of pages before it. */
  readonly otherStatuses?: readonly number[];
  readonly user: 'none' | 'alice';
  /** `many`: the API has the routes of `manyRoutes`. Alice is not signed in there yet. */
  readonly routes?: 'many';
  /** Leads an empty tab to the page. */
  readonly open: (page: Page, world: PagesWorld, t: PageTexts) => Promise<unknown>;
}

export const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();

/** Submits the form that the selector finds as without JavaScript, in this tab: no event, so the page's scripts do not see it. */
export const submitPlainly = (page: Page, selector: string) =>
  page.evaluate(`{
    const form = document.querySelector(${JSON.stringify(selector)});
    form.target = '';
    form.submit();
  }`);

/** The id of the session of this tab. */
export async function sessionIdOf(page: Page, { origin }: Pick<PagesWorld, 'origin'>): Promise<string> {
  const cookies = await page.context().cookies(origin);
  const { value } = cookies.find(({ name }) => name === cookieNames(origin).session)!;
  return /^s(?::|%3A)([\w-]+)\./.exec(value)![1]!;
}

/** Removes the session's record, as when it expires. The rest of its data stays. */
export async function expireSession(page: Page, world: PagesWorld): Promise<void> {
  await world.latchkey.deps.tokenStore.update(await sessionIdOf(page, world), async () => undefined);
}
