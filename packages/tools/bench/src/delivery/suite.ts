/** `bench delivery`: from a node that has joined to the files of other programs. */

import { join } from 'node:path';
import { Failure } from '@latchkey/runtime/failure';
import { type Measurement, interleave, quantity } from '../interleave.js';
import { MeasuredNetwork } from '../joins/network.js';
import { percentile } from '../load/load-profile.js';
import { ratioMetric, type RatioMetric } from '../ratio.js';
import { number } from '../report.js';
import type { Depth, SuiteResult, SuiteRun } from '../suite.js';
import { DeliverProcess, LABELS } from './deliver-process.js';

export interface Sizes {
  readonly few: number;
  readonly many: number;
  /** Renewals in a round, one after another. */
  readonly renewals: number;
}

const FULL: Sizes = { few: 100, many: 10_000, renewals: 20 };
const SIZES: Readonly<Record<Depth, Sizes>> = { quick: { ...FULL, many: 2_000, renewals: 5 }, full: FULL, long: FULL };

/** What key delivery promises: a change is in the files within 2 s, at 10,000 nodes. */
const MAX_DELAY_MS = 2_000;

type Delay = 'p50' | 'p99';
type Storm = 'deliverUs' | 'daemonsUs';

export async function deliverySuite(run: SuiteRun, sizes: Sizes = SIZES[run.depth]): Promise<SuiteResult> {
  const few = await DeliveredNetwork.start(run, sizes.few);
  try {
    const many = await DeliveredNetwork.start(run, sizes.many);
    try {
      return await measure(run, sizes, few, many);
    } finally {
      await many.stop();
    }
  } finally {
    await few.stop();
  }
}

async function measure(run: SuiteRun, sizes: Sizes, few: DeliveredNetwork, many: DeliveredNetwork): Promise<SuiteResult> {
  run.report('one renewal after another');
  const delays = await interleave<'few' | 'many', Delay>(run.rounds, {
    few: () => few.renewOneByOne(sizes.renewals),
    many: () => many.renewOneByOne(sizes.renewals),
  });
  const [nameOfFew, nameOfMany] = [sizes.few, sizes.many].map((nodes) => `${nodes.toLocaleString('en')} nodes`);
  const delay = (name: Delay, bound?: number): RatioMetric =>
    ratioMetric(
      `from a join to the last reload: ${name}`,
      'ms',
      { name: nameOfMany ?? '', values: quantity(delays.many, name) },
      { name: nameOfFew ?? '', values: quantity(delays.few, name) },
      bound === undefined ? {} : { bound },
    );

  const storms: Measurement<Storm>[] = [];
  for (let round = 0; round < run.rounds; round++) {
    run.report(`storm ${round + 1} of ${run.rounds}`);
    storms.push(await many.storm());
  }
  const storm = ratioMetric(
    `storm of ${sizes.many.toLocaleString('en')}: CPU time of a renewal`,
    'us',
    { name: '`deliver`, three targets', values: quantity(storms, 'deliverUs') },
    { name: 'auth-server and controller', values: quantity(storms, 'daemonsUs') },
  );
  return {
    figures: [delay('p50'), delay('p99', MAX_DELAY_MS), storm],
    tables: [
      {
        title: 'All renewals of all rounds, from the join to the last of three reloads',
        head: ['nodes', 'renewals', 'p50', 'p99'],
        rows: [few, many].map((network) => network.row()),
      },
    ],
    remarks: ['1,000 ms of each delay are `debounce`. In a storm, files have up to five generations of each node.'],
  };
}

/** A network whose nodes have joined, and the files of its controller's `deliver`. */
class DeliveredNetwork {
  readonly #nodes: number;
  readonly #network: MeasuredNetwork;
  readonly #deliver: DeliverProcess;
  readonly #delays: number[] = [];

  private constructor(nodes: number, network: MeasuredNetwork, deliver: DeliverProcess) {
    this.#nodes = nodes;
    this.#network = network;
    this.#deliver = deliver;
  }

  static async start({ folder, report }: SuiteRun, nodes: number): Promise<DeliveredNetwork> {
    report(`${nodes.toLocaleString('en')} nodes join`);
    const own = join(folder, String(nodes));
    const socket = join(own, 'keys.sock');
    const keys = JSON.stringify([{ socket, mode: '0600', labels: LABELS }]);
    const network = await MeasuredNetwork.start('relayed', own, nodes, { controllerConfig: [`keys: ${keys}`] });
    try {
      await joinAll(network, nodes);
      return new DeliveredNetwork(nodes, network, await DeliverProcess.start(join(own, 'deliver'), socket));
    } catch (error) {
      await network.stop();
      throw error;
    }
  }

  async renewOneByOne(renewals: number): Promise<Measurement<Delay>> {
    const delays: number[] = [];
    for (let i = 0; i < renewals; i++) delays.push(await this.#deliver.measureDelay(() => this.#renewOne()));
    this.#delays.push(...delays);
    const sorted = delays.toSorted((a, b) => a - b);
    return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
  }

  /** All nodes renew at once. Gives CPU time for each of them. */
  async storm(): Promise<Measurement<Storm>> {
    const before = this.#deliver.cpuMs;
    const daemonsMs = await joinAll(this.#network, this.#nodes);
    await this.#deliver.upToDate();
    const perNode = (ms: number): number => (1000 * ms) / this.#nodes;
    return { deliverUs: perNode(this.#deliver.cpuMs - before), daemonsUs: perNode(daemonsMs) };
  }

  row(): string[] {
    const sorted = this.#delays.toSorted((a, b) => a - b);
    const [p50, p99] = [0.5, 0.99].map((part) => `${number(percentile(sorted, part))} ms`);
    return [this.#nodes.toLocaleString('en'), String(sorted.length), p50 ?? '', p99 ?? ''];
  }

  async stop(): Promise<void> {
    await this.#deliver.stop();
    await this.#network.stop();
  }

  async #renewOne(): Promise<void> {
    const { result } = await this.#network.play({ kind: 'closed', inFlight: 1, ms: 60_000, joins: 1 });
    if (result.joins !== 1) throw new Failure(`a node did not renew: ${JSON.stringify(result.failureReasons)}`);
  }
}

/** @returns CPU time of the daemons, in ms */
async function joinAll(network: MeasuredNetwork, nodes: number): Promise<number> {
  const { result, controllerCpuMs, serverCpuMs } = await network.play({ kind: 'storm', joins: nodes });
  if (result.joins !== nodes) throw new Failure(`${result.joins} of ${nodes} nodes got their key in a storm`);
  return controllerCpuMs + serverCpuMs;
}
