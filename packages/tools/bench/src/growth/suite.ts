/**
 * `bench growth`: what a join costs in a registry of ten million nodes, per one of a thousand, in
 * LMDB and in PostgreSQL.
 */

import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readMasterKey } from '@latchkey/keyring';
import { copyToDatabase } from '@latchkey/registry';
import type { PostgresConfig } from '@latchkey/registry/postgres';
import { PostgresCluster } from '@latchkey/testbed';
import { serveFromDatabase } from '../engines/database-registry.js';
import { interleave, type Measurement, quantity } from '../interleave.js';
import { type RatioLimits, type RatioMetric, ratioMetric, type Unit } from '../ratio.js';
import { Fleet } from '../registry/fleet.js';
import { InProcessRegistry } from '../registry/in-process.js';
import { RegistryFixture } from '../registry/registry-fixture.js';
import { measureServer } from '../registry/server-process.js';
import type { SuiteResult, SuiteRun } from '../suite.js';

interface Sizes {
  readonly few: number;
  readonly many: number;
  /**
   * Nodes that join, scattered among all of them: more than a server has in its memory. Each has
   * joined before, as in the smaller registry.
   */
  readonly active: number;
  /** Joins of a round: in this process, and over UDP at an auth-server of its own. */
  readonly joins: number;
  readonly serverJoins: number;
}

const FULL: Sizes = { few: 1_000, many: 10_000_000, active: 20_000, joins: 1_000, serverJoins: 5_000 };
const QUICK: Sizes = { few: 1_000, many: 100_000, active: 5_000, joins: 500, serverJoins: 1_000 };

const IN_FLIGHT = 64;
/** An import takes 4,194,304 nodes at most. */
const NODES_PER_IMPORT = 2_500_000;
/** A join must not cost more than this at `many` nodes, per join at `few`. */
const MAX_GROWTH_RATIO = { limit: 1.3 } as const;

const SIZES = ['few', 'many'] as const;
type Size = (typeof SIZES)[number];

/** How an engine's registries are reached. */
interface Engine {
  readonly name: string;
  open(of: Size): Promise<InProcessRegistry>;
  /** Options of `auth-server run`. */
  registryOptions(of: Size): readonly string[];
}

type Quantity = 'wallUs' | 'cpuUs' | 'anonymousMiB';

type Registries = Readonly<Record<Size, RegistryFixture>>;

export async function growthSuite(run: SuiteRun): Promise<SuiteResult> {
  const sizes = run.depth === 'quick' ? QUICK : FULL;
  const registries = { few: await enrolled(run, 'few', sizes), many: await enrolled(run, 'many', sizes) };
  // Before anything is served: a server waits whose clock goes on from another's.
  const copies = { few: await copyOf(registries.few), many: await copyOf(registries.many) };
  const figures = await measureEngine(run, sizes, registries, {
    name: 'LMDB',
    open: (of) => InProcessRegistry.open(registries[of]),
    registryOptions: (of) => ['--data', registries[of].folder],
  });
  if (!PostgresCluster.AVAILABLE) return { figures, remarks: ['PostgreSQL is not installed here.'] };
  const cluster = await PostgresCluster.start(1);
  try {
    for (const of of SIZES) await moveToDatabase(run, cluster, of, copies[of]);
    const inDatabase = await measureEngine(run, sizes, copies, {
      name: 'PostgreSQL',
      open: (of) => serveFromDatabase(copies[of].folder, copies[of], configOf(cluster, of)),
      registryOptions: (of) => ['--data', urlOf(cluster, of), '--local-data', copies[of].folder],
    });
    return {
      figures: [...figures, ...inDatabase],
      remarks: ['PostgreSQL is one server on the same machine, without a standby.'],
    };
  } finally {
    await cluster.remove();
  }
}

async function enrolled(run: SuiteRun, name: Size, { active, [name]: nodes }: Sizes): Promise<RegistryFixture> {
  run.report(`${nodes.toLocaleString('en')} nodes`);
  const csv = join(run.folder, `${name}.csv`);
  const fixture = new RegistryFixture(join(run.folder, name), new Fleet(nodes, active), csv);
  for (let first = 0; first < nodes; first += NODES_PER_IMPORT) {
    await fixture.fleet.writeCsv(csv, first, Math.min(first + NODES_PER_IMPORT, nodes));
    await (first === 0 ? fixture.create() : fixture.import(csv));
    await rm(csv);
  }
  return fixture;
}

/** The same nodes once more, none of which has joined. */
async function copyOf({ folder, fleet }: RegistryFixture): Promise<RegistryFixture> {
  const copy = new RegistryFixture(`${folder}-copy`, new Fleet(fleet.size, fleet.active), `${folder}.csv`);
  await cp(folder, copy.folder, { recursive: true });
  return copy;
}

async function moveToDatabase(run: SuiteRun, cluster: PostgresCluster, of: Size, fixture: RegistryFixture): Promise<void> {
  run.report(`${fixture.fleet.size.toLocaleString('en')} nodes into PostgreSQL`);
  await cluster.primary.sql(`CREATE DATABASE ${of} OWNER latchkey`);
  const master = await readMasterKey({ kind: 'file', path: fixture.masterKey });
  await copyToDatabase(fixture.folder, { postgres: configOf(cluster, of), master, actor: 'bench' });
  // As a database has it that has been there for a while.
  await cluster.primary.sql('VACUUM ANALYZE', of);
  await cluster.primary.sql('CHECKPOINT');
}

function configOf({ primary, passwordFile }: PostgresCluster, of: Size): PostgresConfig {
  const hosts = [{ host: '127.0.0.1', port: primary.port }];
  return { hosts, database: of, user: 'latchkey', passwordFile, durability: 'storage' };
}

function urlOf({ primary, passwordFile }: PostgresCluster, of: Size): string {
  return `postgres://latchkey@127.0.0.1:${primary.port}/${of}?password_file=${passwordFile}&durability=storage`;
}

async function measureEngine(
  run: SuiteRun,
  { joins, serverJoins }: Sizes,
  registries: Registries,
  engine: Engine,
): Promise<RatioMetric[]> {
  run.report(`joins in ${engine.name}`);
  const open = { few: await engine.open('few'), many: await engine.open('many') };
  let costs: Readonly<Record<Size, readonly Measurement<'wallUs' | 'cpuUs'>[]>>;
  try {
    for (const of of SIZES) await open[of].joinAll(IN_FLIGHT);
    // What comes first pays for compiling.
    for (const of of SIZES) await open[of].join(joins, IN_FLIGHT);
    const join64 = (of: Size) => (): Promise<Measurement<'wallUs' | 'cpuUs'>> => open[of].join(joins, IN_FLIGHT);
    costs = await interleave(run.rounds, { few: join64('few'), many: join64('many') }, run.report);
  } finally {
    for (const one of Object.values(open)) await one.close();
  }
  const memory = (of: Size) => async (): Promise<Measurement<'anonymousMiB'>> => {
    const { anonymousAfterMiB } = await measureServer(registries[of], serverJoins, engine.registryOptions(of));
    return { anonymousMiB: anonymousAfterMiB };
  };
  run.report(`memory of an auth-server on ${engine.name}`);
  const servers = await interleave(run.rounds, { few: memory('few'), many: memory('many') }, run.report);
  const figure = <Q extends Quantity>(
    what: string,
    unit: Unit,
    of: Q,
    { few, many }: Readonly<Record<Size, readonly Measurement<Q>[]>>,
    rules: RatioLimits = {},
  ): RatioMetric =>
    ratioMetric(
      `${engine.name}: ${what}`,
      unit,
      { name: `${registries.many.fleet.size.toLocaleString('en')} nodes`, values: quantity(many, of) },
      { name: registries.few.fleet.size.toLocaleString('en'), values: quantity(few, of) },
      rules,
    );
  return [
    figure(`join, ${IN_FLIGHT} in flight, CPU time`, 'us', 'cpuUs', costs, MAX_GROWTH_RATIO),
    figure(`join, ${IN_FLIGHT} in flight`, 'us', 'wallUs', costs, MAX_GROWTH_RATIO),
    figure(`auth-server, anonymous memory after ${serverJoins.toLocaleString('en')} joins`, 'MiB', 'anonymousMiB', servers),
  ];
}
