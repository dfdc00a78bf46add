import { defineConfig } from 'vitest/config';

/** What takes a container engine, root or a Debian of its own: one file at a time. */
export default defineConfig({
  test: {
    include: ['packages/*/deployment/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
});
