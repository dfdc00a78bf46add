/**
 * `bench joins --where`: where the CPU time of a join goes, and what is allocated for it, room by
 * room.
 */

import { join } from 'node:path';
import type { Daemon } from '../daemon.js';
import { MeasuredNetwork } from '../joins/network.js';
import { sizesOf } from '../joins/plans.js';
import { number } from '../report.js';
import type { BarChart } from '../series.js';
import type { SuiteResult, SuiteRun, Table } from '../suite.js';
import { byRoom } from './rooms.js';

const IN_FLIGHT = 64;
/** Rooms that take less than this of all, in CPU time and in memory, stand in one row. */
const SMALLEST_SHARE = 0.005;
/** Rooms in the plot: the dearest. */
const DRAWN_ROOMS = 16;
const OTHER_THREADS = 'other threads (store, collector, compiler)';

/** Per join: microseconds of CPU time, and octets. */
interface RoomCosts {
  readonly cpuUs: ReadonlyMap<string, number>;
  readonly octets: ReadonlyMap<string, number>;
}

export async function whereSuite(run: SuiteRun): Promise<SuiteResult> {
  const sizes = sizesOf(run.depth);
  const network = await MeasuredNetwork.start('relayed', join(run.folder, 'network'), sizes.nodes, { profiled: true });
  try {
    run.report('warming up');
    await network.play({ kind: 'closed', inFlight: IN_FLIGHT, ms: 60_000, joins: sizes.warmUp });
    const rooms = await measureRooms(run, network, sizes.ms);
    return {
      figures: [],
      tables: [tableOf(network.daemons, rooms)],
      remarks: REMARKS,
      chart: chartOf(network.daemons, rooms),
    };
  } finally {
    await network.stop();
  }
}

const REMARKS: readonly string[] = [
  'A function has its CPU time without what it calls, by samples of the main thread. The programs run as built, not as bundled.',
  'What is allocated are objects of JavaScript. Buffers have their octets outside of V8: they are not in it.',
];

async function measureRooms(run: SuiteRun, network: MeasuredNetwork, ms: number): Promise<RoomCosts[]> {
  const plan = { kind: 'closed', inFlight: IN_FLIGHT, ms } as const;
  run.report('CPU time');
  await Promise.all(network.daemons.map((daemon) => daemon.profile('start cpu')));
  const timed = await network.play(plan);
  const cpu = await Promise.all(network.daemons.map(async (daemon) => byRoom(await daemon.profile('stop'))));
  run.report('allocations');
  await Promise.all(network.daemons.map((daemon) => daemon.profile('start memory')));
  const filled = await network.play(plan);
  const memory = await Promise.all(network.daemons.map(async (daemon) => byRoom(await daemon.profile('stop'))));
  return network.daemons.map((_, i) => {
    const sampled = cpu[i] ?? new Map<string, number>();
    const mainUs = ((timed.mainThreadCpuMs[i] ?? 0) * 1_000) / timed.result.joins;
    const allUs = ((i === 0 ? timed.controllerCpuMs : timed.serverCpuMs) * 1_000) / timed.result.joins;
    // Samples also count while another process has the core: they are shares of the thread's CPU
    // time.
    const cpuUs = scaled(sampled, mainUs / sum(sampled));
    cpuUs.set(OTHER_THREADS, Math.max(0, allUs - mainUs));
    return { cpuUs, octets: scaled(memory[i] ?? new Map(), 1 / filled.result.joins) };
  });
}

function scaled(costs: ReadonlyMap<string, number>, by: number): Map<string, number> {
  return new Map([...costs].map(([room, cost]) => [room, cost * by]));
}

function sum(costs: ReadonlyMap<string, number>): number {
  return [...costs.values()].reduce((total, cost) => total + cost, 0);
}

/** The dearest room first. */
function tableOf(daemons: readonly Daemon[], costs: readonly RoomCosts[]): Table {
  const totals = { cpuUs: 0, octets: 0 };
  const rooms = new Map<string, number[]>();
  costs.forEach(({ cpuUs, octets }, i) => {
    for (const [of, column] of [
      [cpuUs, 2 * i],
      [octets, 2 * i + 1],
    ] as const) {
      for (const [room, cost] of of) {
        const cells = rooms.get(room) ?? Array.from({ length: 2 * costs.length }, () => 0);
        cells[column] = cost;
        rooms.set(room, cells);
      }
    }
    totals.cpuUs += sum(cpuUs);
    totals.octets += sum(octets);
  });
  const cpuOf = (cells: readonly number[]): number => ofColumns(cells, 0);
  const isSmall = (cells: readonly number[]): boolean =>
    cpuOf(cells) < SMALLEST_SHARE * totals.cpuUs && ofColumns(cells, 1) < SMALLEST_SHARE * totals.octets;
  const all = [...rooms];
  const small = all.filter(([, cells]) => isSmall(cells));
  const rows = all.filter(([, cells]) => !isSmall(cells)).toSorted(([, a], [, b]) => cpuOf(b) - cpuOf(a));
  if (small.length > 0) rows.push([`${small.length} smaller ones`, added(small)]);
  rows.push(['in all', added(all)]);
  return {
    title: 'Where a join goes',
    head: ['room', ...daemons.flatMap(({ name }) => [`${name}, us`, `${name}, octets`]), 'share of CPU'],
    rows: rows.map(([room, cells]) => [room].concat(cells.map(number), `${number((100 * cpuOf(cells)) / totals.cpuUs)} %`)),
  };
}

function chartOf(daemons: readonly Daemon[], costs: readonly RoomCosts[]): BarChart {
  const rooms = new Set(costs.flatMap(({ cpuUs }) => [...cpuUs.keys()]));
  const rows = Array.from(rooms, (name) => ({ name, values: costs.map(({ cpuUs }) => cpuUs.get(name) ?? 0) }));
  const dearestFirst = rows.toSorted((a, b) => total(b.values) - total(a.values));
  return {
    title: 'Where the CPU time of a join goes',
    unit: 'us',
    legend: daemons.map(({ name }) => name),
    rows: dearestFirst.slice(0, DRAWN_ROOMS),
    isStacked: true,
  };
}

function total(values: readonly number[]): number {
  return values.reduce((found, value) => found + value, 0);
}

/** Of every second column, from the one with `first` on. */
function ofColumns(cells: readonly number[], first: 0 | 1): number {
  return cells.reduce((found, cell, column) => (column % 2 === first ? found + cell : found), 0);
}

function added(rows: readonly (readonly [string, readonly number[]])[]): number[] {
  const [, first = []] = rows[0] ?? [];
  return first.map((_, column) => rows.reduce((found, [, cells]) => found + (cells[column] ?? 0), 0));
}
