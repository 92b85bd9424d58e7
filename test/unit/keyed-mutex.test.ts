import { setTimeout as delay } from 'node:timers/promises';
import { createKeyedMutex, type RunExclusive, runAfterPending } from '../../src/stores/keyed-mutex.ts';
import { createLatch } from '../support/latch.ts';

const timeoutMs = 50;

test('work waits for the work before it, and keeps work after it waiting', async () => {
  const runExclusive = createKeyedMutex();
  const order: string[] = [];
  const step = (name: string, ms: number) => async () => {
    order.push(`${name} begins`);
    await delay(ms);
    order.push(`${name} ends`);
  };
  const first = runExclusive('a', step('first', 10));
  const second = runAfterPending(runExclusive, 'a', 5_000, step('second', 10));
  const third = runExclusive('a', step('third', 0));
  await Promise.all([first, second, third]);
  expect(order).toEqual(['first', 'second', 'third'].flatMap((each) => [`${each} begins`, `${each} ends`]));
});

test('work begins beside work that takes too long, and runs once', async () => {
  const runExclusive = createKeyedMutex();
  const { opened: hold, open: release } = createLatch();
  const first = runExclusive('a', () => hold);
  let runs = 0;
  const second = runAfterPending(runExclusive, 'a', timeoutMs, async () => {
    runs += 1;
    return 'done';
  });
  expect(await second).toBe('done');
  release();
  await first;
  await runExclusive('a', async () => {});
  expect(runs).toBe(1);
});

test('a failure to get exclusive access rejects only before the work has begun', async () => {
  const failAfter =
    (ms: number): RunExclusive =>
    async () => {
      await delay(ms);
      throw new Error('no lease');
    };
  let runs = 0;
  const work = async () => {
    runs += 1;
    await delay(100);
    return 'done';
  };
  await expect(runAfterPending(failAfter(0), 'a', timeoutMs, work)).rejects.toThrow('no lease');
  expect(runs).toBe(0);
  expect(await runAfterPending(failAfter(timeoutMs + 20), 'a', timeoutMs, work)).toBe('done');
  expect(runs).toBe(1);
});
