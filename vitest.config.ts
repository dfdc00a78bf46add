import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/*/test/**/*.test.ts'],
    // Most tests wait for processes and disks: more of them than cores.
    maxWorkers: 4,
    // Real processes on two cores: a slow machine is not a failure.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    retry: Number(process.env['LATCHKEY_RETRY'] ?? 0),
  },
});
