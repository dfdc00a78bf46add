import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/*/test/**/*.test.ts'],
    // Real processes on two cores: a slow machine is not a failure.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
