import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// A test file belongs to one project. Its name decides, so that it can move to another package: a
// name in none of these lists is a unit test. packages/tools/testbed/test/test-projects.test.ts
// checks that each file is in exactly one project, and each name in use.

/** Tests of stores, files and locks on a real disk: LMDB, kill -9, disk faults. */
export const STORAGE: readonly string[] = [
  'api-audit-export',
  'api-changes',
  'api-jobs',
  'api-events',
  'api-imports',
  'api-installers',
  'api-key-files',
  'api-resources',
  'audit-log',
  'backup',
  'backup-format',
  'controller-clocks',
  'damage',
  'diagnosis',
  'enrolment',
  'exit',
  'files',
  'import-controllers',
  'import-keys',
  'installer',
  'installer-commands',
  'in-place',
  'key-feed-store',
  'master-key',
  'local-socket',
  'next-steps',
  'node-file',
  'openapi',
  'pages',
  'places',
  'lmdb-node-index',
  'lmdb-registry',
  'store-walks',
  'lmdb-storage',
  'registry-keys',
  'remote-commands',
  'reissue',
  'master-key-rotation',
  'tid-allocator',
  'open-lock',
  'target',
  'target-writer',
  'waiting',
];

/** Tests with real processes, or with seconds of network time, outside the testbed. */
export const SYSTEM: readonly string[] = [
  'api-manual',
  'api-process',
  'cli',
  'controller',
  'encrypted-manifest',
  'former-key',
  'gateway',
  'housekeeping',
  'http-limits',
  'init-scripts',
  'key-server',
  'installation',
  'keys',
  'lifecycle',
  'login-command',
  'auth-server-client',
  'load',
  'manifest-reader',
  'memory',
  'native-stderr',
  'node-agent',
  'node-targets',
  'oidc',
  'registry-suite',
  'remote-socket',
  'roles-by-route',
  'sign-in',
  'saved-filters',
  'browser-gateway',
  'browser-rules',
  'command-login',
  'console-files',
  'start',
  'time',
  'webhooks',
];

/** Tests on clusters of PostgreSQL servers (Debian's postgresql). */
export const CLUSTERS: readonly string[] = [
  'postgres',
  'postgres-cluster',
  'postgres-copy',
  'postgres-engine',
  'postgres-failover',
  'postgres-storage',
];

/** Tests with programs of others: brokers and peers that are given keys, and `spin`. */
export const PEERS: readonly string[] = ['integration', 'libcoap', 'model', 'oscore', 'renewals'];

/** Tests of the console in Chromium. */
export const BROWSERS: readonly string[] = ['console-accessibility', 'console-browser', 'console-controllers', 'console-races'];

/** The soak in short form. */
export const SOAK: readonly string[] = ['soak'];

/** Unit tests that put a mock in the place of a module: each file needs modules of its own. */
export const MOCKED: readonly string[] = ['initial-key', 'wiping'];

/** Tests that wait a minute or longer for timeouts of the protocol. They begin first. */
export const LONGEST: readonly string[] = [
  'why-daemons',
  'surroundings',
  'why',
  'node-agent',
  'error-messages',
  'interop',
  'auth-server-client',
  'demo',
  'administration',
  'maintenance',
  'readiness',
  'crash',
  'http-limits',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => LONGEST.indexOf(basename(moduleId, '.test.ts'));
    // Not of an array.
    // oxlint-disable-next-line unicorn/no-array-sort
    const sorted = await super.sort(files);
    return [
      ...sorted.filter((file) => rank(file) >= 0).toSorted((a, b) => rank(a) - rank(b)),
      ...sorted.filter((file) => rank(file) < 0),
    ];
  }
}

/** After each file: no key in what was printed or answered. */
const setupFiles = ['packages/tools/test-support/src/leak-check.ts'];
/**
 * The files that a worker runs share their modules: to import these anew for each file took a
 * third of the CPU time of the storage tests.
 */
const shared = { setupFiles, isolate: false };

const ALL = 'packages/**/test/**/*.test.ts';
const TESTBED = 'packages/**/testbed/test/**/*.test.ts';
/** All tests of the simulator that simulate worlds. */
const WORLDS = 'packages/**/simulator/test/**/!(parts).test.ts';
const NODE_MODULES = '**/node_modules/**';
const named = (names: readonly string[]): string[] => names.map((name) => `packages/**/test/**/${name}.test.ts`);

/** Tests in the projects that `pnpm test` leaves to `pnpm test:ci`. */
const CI = named([...CLUSTERS, ...PEERS, ...BROWSERS, ...SOAK]);
/** What the testbed's tests start, as it gets installed. */
const globalSetup = 'packages/tools/testbed/test/installed.ts';

/** Tests run what is in src, whatever was built. */
const conditions = ['@latchkey/source', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Most tests wait for processes, disks and timeouts: with six workers two cores were idle a third
    // of the time.
    maxWorkers: 12,
    maxConcurrency: 16,
    sequence: { sequencer: LongestFirst },
    // Real processes on two cores: a slow machine is not a failure.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Many polls start a process each time.
    expect: { poll: { interval: 250, timeout: 180_000 } },
    retry: Number(process.env['LATCHKEY_RETRY'] ?? 0),
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: [ALL],
          exclude: [NODE_MODULES, TESTBED, WORLDS, ...named(MOCKED), ...named(STORAGE), ...named(SYSTEM), ...CI],
          ...shared,
        },
      },
      {
        extends: true,
        test: { name: 'unit-mocked', include: named(MOCKED), exclude: [NODE_MODULES] },
      },
      {
        extends: true,
        test: { name: 'storage', ...shared, include: named(STORAGE), exclude: [NODE_MODULES, TESTBED, WORLDS] },
      },
      {
        extends: true,
        // Worlds wait for nothing, and each ends after so many events: how long they take says only
        // how busy the machine is.
        test: { name: 'simulation', include: [WORLDS], exclude: [NODE_MODULES], testTimeout: 3_600_000 },
      },
      {
        extends: true,
        test: { name: 'system', ...shared, include: named(SYSTEM), exclude: [NODE_MODULES, TESTBED] },
      },
      {
        extends: true,
        test: {
          name: 'testbed',
          ...shared,
          include: [TESTBED],
          exclude: [NODE_MODULES, ...CI],
          globalSetup,
        },
      },
      { extends: true, test: { name: 'clusters', setupFiles, globalSetup, include: named(CLUSTERS), exclude: [NODE_MODULES] } },
      { extends: true, test: { name: 'peers', setupFiles, globalSetup, include: named(PEERS), exclude: [NODE_MODULES] } },
      {
        extends: true,
        test: {
          name: 'browsers',
          setupFiles,
          include: named(BROWSERS),
          exclude: [NODE_MODULES],
          // The console is bundled once.
          globalSetup: 'packages/console/test/bundled.ts',
        },
      },
      { extends: true, test: { name: 'soak', setupFiles, globalSetup, include: named(SOAK), exclude: [NODE_MODULES] } },
    ],
  },
});
