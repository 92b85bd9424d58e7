import type { Agent } from 'undici';
import { writeRoutesFile } from '../../support/routes-file.ts';
import { createWorld, type World } from '../../support/world.ts';
import { readRecord, readSession } from './logged-in.ts';
import { type RecordedRequest, type Recorder, startRecorder } from './recorder.ts';
import { formatHead, type RawResponse, sendRaw } from './wire.ts';

/** A world whose API is a recorder, and someone signed in there. */
export interface ApiWorld {
  readonly world: World;
  readonly recorder: Recorder;
  /** The `Cookie` header of the person's session. */
  readonly cookie: string;
  /** The person's access token, as the server holds it. */
  readonly accessToken: string;
  /** One request of the person's on a connection of its own, which ends with it. */
  send(
    requestLine: string,
    headers?: readonly string[],
    body?: readonly (string | Buffer)[],
  ): Promise<RawResponse>;
  /** As `request`, and what of it arrived at the API. */
  sendAndRecord(
    requestLine: string,
    headers?: readonly string[],
    body?: readonly (string | Buffer)[],
  ): Promise<{ readonly response: RawResponse; readonly forwarded: readonly RecordedRequest[] }>;
  /** Requests to the API that are under way. */
  openRequestCount(): number;
  close(): Promise<void>;
}

/** @param routes rows of an API table, instead of the one that stands without */
export async function createApiWorld(routes?: readonly unknown[]): Promise<ApiWorld> {
  const recorder = await startRecorder();
  const world = await createWorld({
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      OAUTH2_SCOPES: 'read:profile read:data write:data',
      ...(routes && { API_ROUTES_FILE: writeRoutesFile(routes) }),
    },
  });
  const browser = world.browser();
  await world.signIn(browser);
  const { id, cookie } = await readSession(browser);
  const accessToken = (await readRecord(world, id))!.tokens.accessToken;

  const send: ApiWorld['send'] = (requestLine, headers = [], body = []) => {
    const ours = ['Host: localhost', `Cookie: ${cookie}`];
    const closing = headers.some((each) => /^connection:/i.test(each)) ? [] : ['Connection: close'];
    return sendRaw(world.origin, [formatHead(requestLine, [...ours, ...closing, ...headers]), ...body]);
  };
  return {
    world,
    recorder,
    cookie,
    accessToken,
    send,
    async sendAndRecord(...how) {
      recorder.requests.length = 0;
      const response = await send(...how);
      return { response, forwarded: [...recorder.requests] };
    },
    openRequestCount: () =>
      Object.values((world.latchkey.deps.upstream as Agent).stats).reduce((sum, { size }) => sum + size, 0),
    async close() {
      await recorder.close(); // first, so that a request left hanging there shows in its own test and not here
      await world.close();
    },
  };
}
