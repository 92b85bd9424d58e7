export function findRedisServer(): string;
export function freePort(): Promise<number>;
export function startRedis(scratch: string): Promise<{ readonly url: string; stop(): void }>;
