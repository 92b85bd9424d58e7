import express, { type Express } from 'express';
import type { Config } from '../config/load.ts';
import type { Logger } from '../logger.ts';
import { createViewEngine } from '../pages/render-views.ts';
import { createMessageClasses, type MessageClasses } from '../server/message-classes.ts';

/** An Express app without any middleware, and what the server needs to know of it. */
export interface ExpressApp {
  readonly handler: Express;
  readonly messageClasses: MessageClasses;
  /** True for the address of a peer whose `X-Forwarded-*` headers count (`TRUST_PROXY`). */
  isTrustedProxy(address: string): boolean;
}

/** An Express app with the settings of `config` that renders the templates in `views`, those of an earlier folder first. */
export function createExpressApp(config: Config, views: readonly string[], log: Logger): ExpressApp {
  const handler = express();
  const messageClasses = createMessageClasses(handler);
  handler.disable('x-powered-by').disable('etag').set('query parser', 'simple');
  handler.set('trust proxy', config.trustProxy).set('case sensitive routing', true);
  const trust: (address: string, hop: number) => boolean = handler.get('trust proxy fn');
  handler.engine('ejs', createViewEngine({ folders: views, isCached: config.production, log }));
  handler.set('view engine', 'ejs').set('views', views).set('view cache', config.production);
  handler.locals.base = config.basePath;
  handler.locals.supportUrl = config.access.supportUrl;
  handler.locals.accountUrl = config.pages.accountUrl;
  handler.locals.appName = config.brand.name;
  handler.locals.appTagline = config.brand.tagline;
  handler.locals.providerLogo = config.brand.providerLogoUrl;
  handler.locals.appLogo = config.brand.logoUrl;
  return { handler, messageClasses, isTrustedProxy: (address) => trust(address, 0) };
}
