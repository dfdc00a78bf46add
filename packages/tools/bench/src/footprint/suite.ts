/** `bench footprint`: what the node agent takes on a device, per what Node.js alone takes there. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { formatId } from '@latchkey/protocol';
import { freePort, TestNetwork } from '@latchkey/testbed';
import { ratioMetric } from '../ratio.js';
import { install } from '../installed.js';
import { resourcesOf } from '../machine.js';
import type { SuiteResult, SuiteRun } from '../suite.js';
import { interleave, quantity, type Measurement } from '../interleave.js';

/** Limits of the issue that asked for a small agent. */
const MAX_RESIDENT = 1.35;
const MAX_START = 2.5;

const CONTROLLER = '00000001';
/**
 * Between two looks at a process's memory, in ms; it is at rest when it has not changed for as many
 * looks.
 */
const SAMPLE_INTERVAL_MS = 250;
const STABLE_SAMPLES = 6;
const MAX_SAMPLES = 80;
/** Starts are short: this many in each round, of which the median of the rounds is taken. */
const STARTS_PER_ROUND = 5;

/** The environment of a device: nothing of this one that makes Node.js do more. */
const ENVIRONMENT = { PATH: process.env['PATH'] };

type Quantity = 'startMs' | 'firstStartMs' | 'residentMiB' | 'anonymousMiB';

export async function footprintSuite({ rounds, report }: SuiteRun): Promise<SuiteResult> {
  report('building what gets installed');
  const main = await install('node-agent');
  const network = await startNetwork();
  try {
    const joined = await joinedNode(network);
    const waiting = await controllerThatListens(network);
    report('starting and looking, in turn');
    const { bare, agent } = await interleave<'bare' | 'agent', Quantity>(rounds, {
      bare: async () => {
        const startMs = await mean(timeBareNode);
        return { startMs, firstStartMs: startMs, ...(await memoryAtRest(['-e', 'setInterval(() => undefined, 2 ** 30)'])) };
      },
      agent: async () => {
        const node = await waiting.install();
        return {
          firstStartMs: await node.timeToM1(main),
          startMs: await mean(() => node.timeToM1(main)),
          ...(await memoryAtRest([main, 'run', '--state', joined])),
        };
      },
    });
    const compare = (what: string, name: Quantity, unit: 'ms' | 'MiB', names: readonly [string, string], limit?: number) =>
      ratioMetric(
        what,
        unit,
        { name: names[0], values: quantity(agent, name) },
        { name: names[1], values: quantity(bare, name) },
        limit === undefined ? {} : { limit },
      );
    await waiting.close();
    return {
      figures: [
        compare('start', 'startMs', 'ms', ['node-agent run, to its first M1', 'node -e 0, to its end'], MAX_START),
        compare('its very first start', 'firstStartMs', 'ms', ['node-agent run, to its first M1', 'node -e 0, to its end']),
        compare('resident memory at rest', 'residentMiB', 'MiB', ['node-agent run, joined', 'node, idle'], MAX_RESIDENT),
        compare('of which its own, not mapped files', 'anonymousMiB', 'MiB', ['node-agent run, joined', 'node, idle']),
      ],
      remarks: ['With `join` under a timer nothing is resident between two looks.'],
    };
  } finally {
    await network.remove();
  }
}

async function startNetwork(): Promise<TestNetwork> {
  const network = await TestNetwork.create();
  const [server, controller] = [await freePort(), await freePort()];
  await network.addController(CONTROLLER, controller, [server]);
  await network.startAuthServer(server);
  await network.startController(CONTROLLER, controller);
  return network;
}

/** The state folder of a node that has joined. */
async function joinedNode(network: TestNetwork): Promise<string> {
  const order = await network.order({ controller: CONTROLLER, count: 1 });
  const state = await network.install(formatId(order.lines[0]?.idI ?? 0), order.manifest);
  await network.run('node-agent', ['join', '--state', state]);
  return state;
}

interface WaitingNode {
  /**
   * From the start of a process to its M1, in ms. The first one goes on until it has said it again,
   * and so has kept what it keeps for the next.
   */
  timeToM1(main: string): Promise<number>;
}

/** Nodes whose controller only listens. */
async function controllerThatListens(network: TestNetwork): Promise<{ install(): Promise<WaitingNode>; close(): Promise<void> }> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const key = await network.file('waiting.key', `${'0123456789abcdef'.repeat(2)}\n`);
  const controller = `127.0.0.1:${socket.address().port}`;
  const about = ['--id', '0000a1b2', '--controller', controller, '--controller-id', CONTROLLER, '--ik-file', key];
  let nodes = 0;
  return {
    async install() {
      const state = join(network.folder, `waiting-${(nodes += 1)}`);
      await network.run('node-agent', ['install', '--state', state, ...about]);
      let isFirst = true;
      return {
        async timeToM1(main) {
          const since = performance.now();
          const child = start([main, 'run', '--state', state]);
          await once(socket, 'message');
          const took = performance.now() - since;
          if (isFirst) await once(socket, 'message');
          isFirst = false;
          await end(child);
          return took;
        },
      };
    },
    async close() {
      socket.close();
      await once(socket, 'close');
    },
  };
}

async function timeBareNode(): Promise<number> {
  const since = performance.now();
  await once(start(['-e', '0']), 'exit');
  return performance.now() - since;
}

async function mean(measure: () => Promise<number>): Promise<number> {
  let sum = 0;
  for (let i = 0; i < STARTS_PER_ROUND; i++) sum += await measure();
  return sum / STARTS_PER_ROUND;
}

/** Memory of a process once it does nothing any more. */
async function memoryAtRest(args: readonly string[]): Promise<Pick<Measurement<Quantity>, 'residentMiB' | 'anonymousMiB'>> {
  const child = start(args);
  try {
    let [still, before] = [0, 0];
    for (let looks = 0; looks < MAX_SAMPLES; looks++) {
      await pause(SAMPLE_INTERVAL_MS);
      const now = resourcesOf(child.pid ?? 0);
      if (now === undefined) throw new Error(`node ${args.join(' ')} ended`);
      still = now.residentMiB === before ? still + 1 : 0;
      before = now.residentMiB;
      if (still >= STABLE_SAMPLES) return { residentMiB: now.residentMiB, anonymousMiB: now.anonymousMiB };
    }
    throw new Error(`node ${args.join(' ')} never came to rest`);
  } finally {
    await end(child);
  }
}

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, args, { stdio: 'ignore', env: ENVIRONMENT });
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
