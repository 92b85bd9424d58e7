import type { Agent } from 'undici';
import { routesFile } from '../../support/routes-file.ts';
import { createWorld, type World } from '../../support/world.ts';
import { recordOf, sessionOf } from './logged-in.ts';
import { type Arrived, type Recorder, startRecorder } from './recorder.ts';
import { head, type RawAnswer, speak } from './wire.ts';

/** A world whose API is a recorder, and someone signed in there. */
export interface ApiWorld {
  readonly world: World;
  readonly recorder: Recorder;
  /** The `Cookie` header of the person's session. */
  readonly cookie: string;
  /** The person's access token, as the server holds it. */
  readonly accessToken: string;
  /** One request of the person's on a connection of its own, which ends with it. */
  request(
    requestLine: string,
    headers?: readonly string[],
    body?: readonly (string | Buffer)[],
  ): Promise<RawAnswer>;
  /** As `request`, and what of it arrived at the API. */
  sent(
    requestLine: string,
    headers?: readonly string[],
    body?: readonly (string | Buffer)[],
  ): Promise<{ readonly answer: RawAnswer; readonly arrived: readonly Arrived[] }>;
  /** Requests to the API that are under way. */
  underWay(): number;
  close(): Promise<void>;
}

/** @param routes rows of an API table, instead of the one that stands without */
export async function createApiWorld(routes?: readonly unknown[]): Promise<ApiWorld> {
  const recorder = await startRecorder();
  const world = await createWorld({
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      OAUTH2_SCOPES: 'read:profile read:data write:data',
      ...(routes && { API_ROUTES_FILE: routesFile(routes) }),
    },
  });
  const browser = world.browser();
  await world.signIn(browser);
  const { id, cookie } = await sessionOf(browser);
  const accessToken = (await recordOf(world, id))!.tokens.accessToken;

  const request: ApiWorld['request'] = (requestLine, headers = [], body = []) => {
    const ours = ['Host: localhost', `Cookie: ${cookie}`];
    const closing = headers.some((each) => /^connection:/i.test(each)) ? [] : ['Connection: close'];
    return speak(world.origin, [head(requestLine, [...ours, ...closing, ...headers]), ...body]);
  };
  return {
    world,
    recorder,
    cookie,
    accessToken,
    request,
    async sent(...how) {
      recorder.arrived.length = 0;
      const answer = await request(...how);
      return { answer, arrived: [...recorder.arrived] };
    },
    underWay: () =>
      Object.values((world.latchkey.deps.upstream as Agent).stats).reduce((sum, { size }) => sum + size, 0),
    async close() {
      await recorder.close(); // first, so that a request left hanging there shows in its own test and not here
      await world.close();
    },
  };
}
