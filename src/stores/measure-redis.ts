import type { Command } from 'ioredis';
import type { Metrics } from '../metrics/metrics.ts';
import type { CounterSeries, HistogramSeries } from '../metrics/series.ts';
import { elapsedMs } from '../time/elapsed.ts';
import type { RedisConnection } from './redis/connection.ts';

interface CommandSeries {
  readonly seconds: HistogramSeries;
  readonly errors: CounterSeries;
}

/** What single servers and clusters have in common. */
interface CommandSender {
  sendCommand(command: Command, ...rest: unknown[]): unknown;
}

/** Counts and times every command that is sent through `redis`, those of its pipelines too. Needs no command of its own. */
export function measureRedis(redis: RedisConnection, metrics: Metrics): void {
  const commands = new Map<string, CommandSeries>();
  const sender: CommandSender = redis;
  const send = sender.sendCommand;

  function seriesOf(command: string): CommandSeries {
    const existing = commands.get(command);
    if (existing) return existing;
    const labels = { command };
    const created = { seconds: metrics.storeCommandSeconds(labels), errors: metrics.storeErrors(labels) };
    commands.set(command, created);
    return created;
  }

  sender.sendCommand = function sendMeasured(command, ...rest) {
    const startedAt = elapsedMs();
    const { seconds, errors } = seriesOf(command.name);
    const record = () => seconds.observe((elapsedMs() - startedAt) / 1000);
    command.promise.then(record, (error: unknown) => {
      record();
      if (!isScriptUnknown(error)) errors.increment();
    });
    return send.call(sender, command, ...rest);
  };
}

/** Redis has restarted and is sent the script again, which is no failure. */
function isScriptUnknown(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
