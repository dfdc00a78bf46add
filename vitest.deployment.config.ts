import { defineConfig } from 'vitest/config';

// Tests that want root, a package manager or an engine, and minutes: `pnpm test:deployment`.
export default defineConfig({
  test: {
    include: ['packages/tools/*/deployment/**/*.test.ts'],
    // One waits for containers while another builds.
    maxWorkers: 2,
    retry: Number(process.env['LATCHKEY_RETRY'] ?? 0),
    testTimeout: 1_800_000,
    hookTimeout: 1_800_000,
  },
});
