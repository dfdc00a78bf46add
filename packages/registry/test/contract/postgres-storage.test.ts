// Proves that the engine on PostgreSQL keeps the promises of every engine, on a real server.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { PostgresCluster } from '../../../tools/testbed/src/postgres-cluster.js';
import {
  createPostgresSchema,
  openPostgresStorage,
  type PostgresConfig,
  type PostgresOptions,
  type PostgresStorage,
} from '../../src/postgres/index.js';
import { nodeListContract } from './node-list-contract.js';
import { storageContract } from './storage-contract.js';

process.umask(0o077);

/** As a registry is made: what tests have left goes, and what is kept of it is out of date. */
const TABLES = [
  'nodes',
  'controllers',
  'orders',
  'node_descriptions',
  'audit',
  'metadata',
  'former_assignments',
  'recent_initial_keys',
  'retired_initial_keys',
  'node_activity',
  'controller_activity',
];
const EMPTY = `${TABLES.map((name) => `DELETE FROM latchkey.${name};`).join('')}
  UPDATE latchkey.registry SET metadata_version = metadata_version + 1, audit_start_seq = 0, audit_start_hash = decode(repeat('00', 32), 'hex')`;

describe.skipIf(!PostgresCluster.AVAILABLE)('PostgreSQL (needs postgresql)', () => {
  let cluster: PostgresCluster;
  let storages: { readonly storage: PostgresStorage; readonly other: PostgresStorage };

  beforeAll(async () => {
    cluster = await PostgresCluster.start(1);
    await createPostgresSchema(config());
    storages = { storage: await open(), other: await open() };
  });
  afterAll(async () => {
    await Promise.all([storages.storage.close(), storages.other.close()]);
    await cluster.remove();
  });

  function config(): PostgresConfig {
    const { port } = cluster.primary;
    return {
      hosts: [{ host: '127.0.0.1', port }],
      database: 'latchkey',
      user: 'latchkey',
      passwordFile: cluster.passwordFile,
      durability: 'storage',
      patience: 10,
    };
  }

  async function open(options: Partial<PostgresOptions> = {}): Promise<PostgresStorage> {
    const { log } = new CapturedLog();
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-test-'));
    return openPostgresStorage(config(), { folder, log, ...options });
  }

  const openEmpty = async (): Promise<typeof storages> => {
    await cluster.sql(EMPTY);
    return storages;
  };
  storageContract(openEmpty);
  nodeListContract(openEmpty);
});
