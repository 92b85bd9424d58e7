import Bowser from 'bowser';

/** What a user agent string says about itself. Members are absent when it is unknown. */
export interface Device {
  /** `Firefox`, `Microsoft Edge`, ... */
  readonly browser?: string;
  /** `Windows`, `iOS`, ... */
  readonly os?: string;
  readonly kind?: 'desktop' | 'mobile' | 'tablet' | 'tv';
}

/** Longer ones are cut: the library searches the string for some hundred patterns. */
const maxUserAgentLength = 512;
// Nothing else of the string is shown, so that nobody can name their browser "Approved by support".
const knownBrowsers: ReadonlySet<string> = new Set(Object.values(Bowser.BROWSER_MAP));
const knownSystems: ReadonlySet<string> = new Set(Object.values(Bowser.OS_MAP));
const kinds = ['desktop', 'mobile', 'tablet', 'tv'] as const;

/** The browser and device of a `User-Agent`, by their usual names. The client can claim to be any of them. */
export function describeDevice(userAgent: string | undefined): Device {
  if (!userAgent) return {};
  const { browser, os, platform } = Bowser.parse(userAgent.slice(0, maxUserAgentLength));
  const kind = kinds.find((each) => each === platform.type);
  return {
    ...(browser.name !== undefined && knownBrowsers.has(browser.name) && { browser: browser.name }),
    ...(os.name !== undefined && knownSystems.has(os.name) && { os: os.name }),
    ...(kind && { kind }),
  };
}
