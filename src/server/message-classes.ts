import { IncomingMessage, ServerResponse } from 'node:http';
import type { Express, Request, Response } from 'express';
import { takeDefaultHeaders } from '../middleware/security-headers.ts';

/** What `http.createServer` creates for each request. */
export interface MessageClasses {
  readonly IncomingMessage: typeof IncomingMessage;
  readonly ServerResponse: typeof ServerResponse;
}

/**
 * The classes of the requests and responses of `app`: those of Express, with default headers. A server that is created with
 * these classes saves Express from changing the prototype of every request and response.
 */
export function createMessageClasses(app: Express): MessageClasses {
  class AppRequest extends IncomingMessage {}

  class AppResponse extends ServerResponse {
    override writeHead(...head: readonly unknown[]): this {
      const headers = takeDefaultHeaders(this as unknown as Response);
      for (let index = 0; index < headers.length; index += 2) {
        const [name, value] = [headers[index]!, headers[index + 1]!];
        if (!this.hasHeader(name)) this.setHeader(name, value);
      }
      return Reflect.apply(super.writeHead, this, head);
    }
  }

  Object.setPrototypeOf(AppRequest.prototype, app.request);
  Object.setPrototypeOf(AppResponse.prototype, app.response);
  app.request = AppRequest.prototype as unknown as Request;
  app.response = AppResponse.prototype as unknown as Response;
  return { IncomingMessage: AppRequest, ServerResponse: AppResponse as typeof ServerResponse };
}
