import { Gauge, type Registry } from 'prom-client';

/** `latchkey_revocations_pending`: tokens of ended sessions that the provider has not revoked yet. */
export function measureRevocations(metrics: Registry, pending: () => Promise<number>): void {
  new Gauge({
    name: 'latchkey_revocations_pending',
    help: 'Tokens of ended sessions that the provider has not revoked yet',
    registers: [metrics],
    async collect() {
      this.set(await pending());
    },
  });
}
