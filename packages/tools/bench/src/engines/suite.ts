/**
 * `bench engines`: the registry in PostgreSQL, with a synchronous standby on the same machine, per
 * the one in LMDB; and two auth-servers on one database per one.
 */

import { join } from 'node:path';
import { readMasterKey } from '@latchkey/keyring';
import { copyToDatabase } from '@latchkey/registry';
import type { PostgresConfig } from '@latchkey/registry/postgres';
import { UsageFailure } from '@latchkey/runtime/failure';
import { PostgresCluster } from '@latchkey/testbed';
import { interleave, type Measurement, quantity } from '../interleave.js';
import { ratioMetric } from '../ratio.js';
import { Fleet } from '../registry/fleet.js';
import { InProcessRegistry } from '../registry/in-process.js';
import { RegistryFixture } from '../registry/registry-fixture.js';
import type { SuiteResult, SuiteRun } from '../suite.js';
import { CommitServers } from './commit-servers.js';
import { serveFromDatabase } from './database-registry.js';

interface Sizes {
  readonly nodes: number;
  readonly commits: number;
  readonly joins: number;
}

const FULL: Sizes = { nodes: 20_000, commits: 5_000, joins: 2_000 };
const QUICK: Sizes = { nodes: 5_000, commits: 1_000, joins: 500 };

const IN_FLIGHT = 64;
const MIN_RATE = { limit: 0.65, better: 'higher' } as const;
const MAX_CPU = { limit: 1.3 } as const;
const MIN_RATE_OF_TWO = { limit: 0.95, better: 'higher' } as const;

export async function enginesSuite(run: SuiteRun): Promise<SuiteResult> {
  if (!PostgresCluster.AVAILABLE)
    throw new UsageFailure('PostgreSQL is not installed here', { advice: 'Install Debian’s package `postgresql`, as root.' });
  const sizes = run.depth === 'quick' ? QUICK : FULL;
  run.report('a cluster of three, and a registry in either engine');
  const cluster = await PostgresCluster.start(3);
  try {
    await cluster.untilStreaming();
    const lmdb = await newRegistry(run, 'lmdb', sizes);
    const postgres = await newRegistry(run, 'postgres', sizes);
    const config: PostgresConfig = {
      hosts: cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port })),
      database: 'latchkey',
      user: 'latchkey',
      passwordFile: cluster.passwordFile,
    };
    const master = await readMasterKey({ kind: 'file', path: postgres.masterKey });
    await copyToDatabase(postgres.folder, { postgres: config, master, actor: 'bench' });
    return {
      figures: [
        ...(await compareEngines(run, sizes, lmdb, postgres, config)),
        await compareServers(run, sizes, postgres, config),
      ],
      remarks: [
        'The load, the servers and three PostgreSQL share the cores of one machine. A commit waits for one of two standbys.',
      ],
    };
  } finally {
    await cluster.remove();
  }
}

async function newRegistry({ folder }: SuiteRun, name: string, { nodes }: Sizes): Promise<RegistryFixture> {
  const csv = join(folder, `${name}.csv`);
  const fixture = new RegistryFixture(join(folder, name), new Fleet(nodes), csv);
  await fixture.fleet.writeCsv(csv);
  await fixture.create();
  return fixture;
}

type Engine = 'lmdb' | 'postgres';

async function compareEngines(
  run: SuiteRun,
  { commits, joins }: Sizes,
  lmdb: RegistryFixture,
  postgres: RegistryFixture,
  config: PostgresConfig,
): Promise<SuiteResult['figures']> {
  const open: Record<Engine, InProcessRegistry> = {
    lmdb: await InProcessRegistry.open(lmdb),
    postgres: await serveFromDatabase(join(run.folder, 'machine'), postgres, config),
  };
  const names = { measured: 'PostgreSQL', baseline: 'LMDB' };
  try {
    // What comes first pays for compiling.
    for (const one of Object.values(open)) await one.join(joins, IN_FLIGHT);
    run.report('commits');
    const rate = async (engine: Engine): Promise<Measurement<'rate'>> => {
      const { wallUs } = await open[engine].commit(commits, IN_FLIGHT);
      return { rate: 1_000_000 / wallUs };
    };
    const rates = await interleave<Engine, 'rate'>(run.rounds, { lmdb: () => rate('lmdb'), postgres: () => rate('postgres') });
    run.report('joins');
    const cost = (engine: Engine): Promise<Measurement<'wallUs' | 'cpuUs'>> => open[engine].join(joins, IN_FLIGHT);
    const costs = await interleave<Engine, 'wallUs' | 'cpuUs'>(run.rounds, {
      lmdb: () => cost('lmdb'),
      postgres: () => cost('postgres'),
    });
    return [
      ratioMetric(
        `commits, ${IN_FLIGHT} in flight`,
        '1/s',
        { name: names.measured, values: quantity(rates.postgres, 'rate') },
        { name: names.baseline, values: quantity(rates.lmdb, 'rate') },
        MIN_RATE,
      ),
      ratioMetric(
        'join, CPU time of the auth-server',
        'us',
        { name: names.measured, values: quantity(costs.postgres, 'cpuUs') },
        { name: names.baseline, values: quantity(costs.lmdb, 'cpuUs') },
        MAX_CPU,
      ),
    ];
  } finally {
    for (const one of Object.values(open)) await one.close();
  }
}

async function compareServers(
  run: SuiteRun,
  { nodes, commits }: Sizes,
  { masterKey }: RegistryFixture,
  config: PostgresConfig,
): Promise<SuiteResult['figures'][number]> {
  run.report('two servers');
  const servers = await CommitServers.start(run.folder, 2, { config, masterKey, nodes });
  try {
    const commit = async (count: number): Promise<Measurement<'rate'>> => ({
      rate: await servers.commit(count, commits / count, IN_FLIGHT),
    });
    for (const count of [1, 2]) await commit(count);
    const { one, two } = await interleave<'one' | 'two', 'rate'>(run.rounds, { one: () => commit(1), two: () => commit(2) });
    return ratioMetric(
      `commits on one database, ${IN_FLIGHT} in flight at each server`,
      '1/s',
      { name: 'two servers', values: quantity(two, 'rate') },
      { name: 'one server', values: quantity(one, 'rate') },
      MIN_RATE_OF_TWO,
    );
  } finally {
    await servers.close();
  }
}
