import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Most tests wait for processes and disks: more of them than cores.
    maxWorkers: 4,
    // Real processes on two cores: a slow machine is not a failure.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    retry: Number(process.env['LATCHKEY_RETRY'] ?? 0),
    projects: [
      {
        extends: true,
        test: { name: 'parts', include: ['packages/*/test/**/*.test.ts'], exclude: ['packages/testbed/**'] },
      },
      {
        extends: true,
        test: {
          name: 'whole',
          include: ['packages/testbed/test/**/*.test.ts'],
          globalSetup: 'packages/testbed/test/installed.ts',
        },
      },
    ],
  },
});
