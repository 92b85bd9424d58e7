import type { Agent } from 'undici';
import { writeRoutesFile } from '../../support/routes-file.ts';
import { createWorld, type World, type WorldOptions } from '../../support/world.ts';
import { readRecord, readSession } from './logged-in.ts';
import { formatHead, type RawResponse, sendRaw } from './raw-http.ts';
import { type RecordedRequest, type Recorder, startRecorder } from './recorder.ts';

/** A world whose API is a recorder, with a signed-in user. */
export interface ApiWorld {
  readonly world: World;
  readonly recorder: Recorder;
  /** The `Cookie` header of the user's session. */
  readonly cookie: string;
  /** The user's access token, read from the token store. */
  readonly accessToken: string;
  /** Sends a request with the user's session, on a new connection that closes after the response. */
  send(
    requestLine: string,
    headers?: readonly string[],
    body?: readonly (string | Buffer)[],
  ): Promise<RawResponse>;
  /** As `send`, and returns the requests that were forwarded to the API. */
  sendAndRecord(
    requestLine: string,
    headers?: readonly string[],
    body?: readonly (string | Buffer)[],
  ): Promise<{ readonly response: RawResponse; readonly forwarded: readonly RecordedRequest[] }>;
  /** Number of requests to the API without a complete response. */
  openRequestCount(): number;
  close(): Promise<void>;
}

/** @param routes rows of a route table that replaces the default one */
export async function createApiWorld(
  routes?: readonly unknown[],
  env: WorldOptions['env'] = {},
): Promise<ApiWorld> {
  const recorder = await startRecorder();
  const world = await createWorld({
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      OAUTH2_SCOPES: 'read:profile read:data write:data',
      ...(routes && { API_ROUTES_FILE: writeRoutesFile(routes) }),
      ...env,
    },
  });
  const browser = world.browser();
  await world.signIn(browser);
  const { id, cookie } = await readSession(browser);
  const accessToken = (await readRecord(world, id))!.tokens.accessToken;

  const send: ApiWorld['send'] = (requestLine, headers = [], body = []) => {
    const common = ['Host: localhost', `Cookie: ${cookie}`];
    const closing = headers.some((each) => /^connection:/i.test(each)) ? [] : ['Connection: close'];
    return sendRaw(world.origin, [formatHead(requestLine, [...common, ...closing, ...headers]), ...body]);
  };
  return {
    world,
    recorder,
    cookie,
    accessToken,
    send,
    async sendAndRecord(...request) {
      recorder.requests.length = 0;
      const response = await send(...request);
      return { response, forwarded: [...recorder.requests] };
    },
    openRequestCount: () =>
      Object.values((world.latchkey.deps.upstream as Agent).stats).reduce((sum, { size }) => sum + size, 0),
    async close() {
      await recorder.close(); // first, so that closing the world does not hang on a request that a test left open
      await world.close();
    },
  };
}
