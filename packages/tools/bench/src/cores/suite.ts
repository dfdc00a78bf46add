/**
 * `bench cores`: joins/s on one core and on two, and what a model that both confirm says of more.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageFailure } from '@latchkey/runtime/failure';
import { interleave, type Measurement, quantity } from '../interleave.js';
import { MeasuredNetwork, type PlanResult } from '../joins/network.js';
import { ratioMetric } from '../ratio.js';
import { summarise } from '../statistics.js';
import type { SuiteResult, SuiteRun, Table } from '../suite.js';
import { modelRate, type ProcessCost } from './model.js';

interface Sizes {
  readonly nodes: number;
  /** How long one round takes, in ms. */
  readonly ms: number;
  /** Joins before anything is measured. */
  readonly warmUp: number;
}

const FULL: Sizes = { nodes: 20_000, ms: 5_000, warmUp: 30_000 };
const QUICK: Sizes = { nodes: 5_000, ms: 1_200, warmUp: 8_000 };

const IN_FLIGHT = 64;
/** Of machines that the model speaks of. */
const MODELLED = [1, 2, 4, 8];

const PROCESSES = ['controller', 'auth-server', 'load generator'] as const;
type Cores = 'one' | 'two';
type Quantity = 'perSecond' | `${(typeof PROCESSES)[number]} ${'cpu' | 'main'}`;

export async function coresSuite(run: SuiteRun): Promise<SuiteResult> {
  const [first, second] = allowedCores();
  if (first === undefined || second === undefined)
    throw new UsageFailure('this process may use one core only', { advice: 'Run it where there are two.' });
  const { nodes, ms, warmUp } = run.depth === 'quick' ? QUICK : FULL;
  run.report(`${nodes} nodes`);
  const network = await MeasuredNetwork.start('relayed', join(run.folder, 'network'), nodes);
  try {
    await network.play({ kind: 'closed', inFlight: IN_FLIGHT, ms: 60_000, joins: warmUp });
    const on = async (cores: readonly number[]): Promise<Measurement<Quantity>> => {
      for (const pid of network.pids) pin(pid, cores);
      return sampleOf(await network.play({ kind: 'closed', inFlight: IN_FLIGHT, ms }));
    };
    const measured = await interleave<Cores, Quantity>(
      run.rounds,
      { one: () => on([first]), two: () => on([first, second]) },
      run.report,
    );
    return resultOf(measured.one, measured.two);
  } finally {
    await network.stop();
  }
}

function resultOf(one: readonly Measurement<Quantity>[], two: readonly Measurement<Quantity>[]): SuiteResult {
  const gain = ratioMetric(
    `${IN_FLIGHT} in flight: joins/s`,
    '1/s',
    { name: 'two cores', values: quantity(two, 'perSecond') },
    { name: 'one core', values: quantity(one, 'perSecond') },
    { better: 'higher' },
  );
  const all = costsOf(two);
  const gateway = all.filter(({ name }) => name !== 'load generator');
  return {
    figures: [gain],
    tables: [costTable(all), modelTable(all, gateway, [quantity(one, 'perSecond'), quantity(two, 'perSecond')])],
    remarks: [
      'The model takes what a join costs each process on two cores. Joins/s end where all cores are busy, or where the busiest thread is: Node.js runs the JavaScript of a process in one thread.',
    ],
  };
}

function costTable(costs: readonly ProcessCost[]): Table {
  return {
    title: 'CPU time of a join on two cores, us',
    head: ['process', 'all threads', 'thread of JavaScript'],
    rows: costs.map(({ name, cpuUs, mainThreadUs }) => [name, format(cpuUs), format(mainThreadUs)]),
  };
}

/** @param measured joins/s by round, on one core and on two */
function modelTable(
  all: readonly ProcessCost[],
  gateway: readonly ProcessCost[],
  measured: readonly (readonly number[])[],
): Table {
  return {
    title: 'Joins/s by the model, and measured',
    head: [
      'cores',
      'measured here',
      'model of the same',
      'measured per model',
      'model of a gateway, load elsewhere',
      'its limit',
    ],
    rows: MODELLED.map((cores) => {
      const [same, there] = [modelRate(cores, all), modelRate(cores, gateway)];
      const values = measured[cores - 1];
      const median = values === undefined ? undefined : summarise(values).median;
      return [
        String(cores),
        median === undefined ? '' : format(median),
        format(same.perSecond),
        median === undefined ? '' : (median / same.perSecond).toFixed(2),
        format(there.perSecond),
        there.limitedBy,
      ];
    }),
  };
}

function format(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function costsOf(samples: readonly Measurement<Quantity>[]): ProcessCost[] {
  const median = (of: Quantity): number => summarise(quantity(samples, of)).median;
  return PROCESSES.map((name) => ({ name, cpuUs: median(`${name} cpu`), mainThreadUs: median(`${name} main`) }));
}

function sampleOf({
  result,
  controllerCpuMs,
  serverCpuMs,
  mainThreadCpuMs: [controller = 0, server = 0],
}: PlanResult): Measurement<Quantity> {
  const perJoin = 1000 / result.joins;
  return {
    perSecond: result.perSecond,
    'controller cpu': controllerCpuMs * perJoin,
    'controller main': controller * perJoin,
    'auth-server cpu': serverCpuMs * perJoin,
    'auth-server main': server * perJoin,
    'load generator cpu': result.cpuMs * perJoin,
    // What else runs in it is garbage collection.
    'load generator main': result.cpuMs * perJoin,
  };
}

/** Cores that this process may use (proc(5), Cpus_allowed_list: `0-3,8`). */
function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s+(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  return list.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** All threads of a process; those to come inherit it. */
function pin(pid: number, cores: readonly number[]): void {
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', cores.join(','), String(pid)], { stdio: 'ignore' });
}
