/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' } }] },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testTimeout: 20_000, // for a busy machine; nothing here waits that long
  /** The modules of each test file stay in memory, which makes every garbage collection slower. */
  workerIdleMemoryLimit: '800MB',
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
};
