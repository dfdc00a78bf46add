/** `bench commands`: what the start of an installed command costs, per the start of Node.js. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { formatId } from '@latchkey/protocol';
import { freePort, TestNetwork } from '@latchkey/testbed';
import { install } from '../installed.js';
import { interleave, quantity } from '../interleave.js';
import { ratioMetric } from '../ratio.js';
import type { SuiteResult, SuiteRun } from '../suite.js';

/** Limits of the issues that asked for quick commands. */
const MAX_KEY = { limit: 1.5 } as const;
const MAX_COMMAND = { limit: 2.5 } as const;
/** Of each command in a round: the kernel counts the CPU time of ended processes in 10 ms. */
const RUNS_PER_ROUND = { quick: 4, full: 10, long: 20 } as const;
const TICK_MS = 10;
const CONTROLLER = '00000001';
const BARE = 'node -e 0';

type Words = readonly string[];

export async function commandsSuite({ rounds, depth, report }: SuiteRun): Promise<SuiteResult> {
  report('building what gets installed');
  const [authServer, controller, nodeAgent] = await Promise.all([
    install('auth-server'),
    install('controller'),
    install('node-agent'),
  ]);
  const network = await TestNetwork.create();
  try {
    const [server, listen] = [await freePort(), await freePort()];
    await network.addController(CONTROLLER, listen, [server]);
    await network.startAuthServer(server);
    await network.startController(CONTROLLER, listen);
    const { lines, manifest } = await network.order({ controller: CONTROLLER, count: 2 });
    const id = formatId(lines[0]?.idI ?? 0);
    const state = await network.install(id, manifest);
    await network.run('node-agent', ['join', '--state', state]);
    const data = ['--data', network.registry];
    const controllerState = ['--state', network.path(`controller-${CONTROLLER}`)];
    const commands: Readonly<Record<string, Words>> = {
      [BARE]: ['-e', '0'],
      'controller key': [controller, 'key', id, ...controllerState, '--label', 'mqtt-psk'],
      'node-agent key': [nodeAgent, 'key', '--state', state, '--label', 'mqtt-psk'],
      'node-agent status': [nodeAgent, 'status', '--state', state],
      'auth-server node show': [authServer, 'node', 'show', id, ...data],
      'auth-server node why': [authServer, 'node', 'why', id, ...data],
      'auth-server node set': [authServer, 'node', 'set', id, '--name', 'pump', ...data],
      'auth-server audit list': [authServer, 'audit', 'list', '--node', id, ...data],
      'auth-server order show': [authServer, 'order', 'show', '1', ...data],
      'auth-server controller show': [authServer, 'controller', 'show', CONTROLLER, ...data],
      'auth-server --version': [authServer, '--version'],
      'controller --version': [controller, '--version'],
      'node-agent --version': [nodeAgent, '--version'],
    };
    // What a first run leaves for the next ones is there then.
    for (const words of Object.values(commands)) await cpuMsOf(words, 1);
    const runs = RUNS_PER_ROUND[depth];
    const measured = await interleave<string, 'cpuMs'>(
      rounds,
      Object.fromEntries(
        Object.entries(commands).map(([name, words]) => [name, async () => ({ cpuMs: await cpuMsOf(words, runs) })]),
      ),
      (progress) => report(`${runs} runs of ${Object.keys(commands).length} commands each, ${progress}`),
    );
    const side = (name: string) => ({ name, values: quantity(measured[name] ?? [], 'cpuMs') });
    return {
      figures: Object.keys(commands)
        .filter((name) => name !== BARE)
        .map((name) =>
          ratioMetric('CPU time of a run', 'ms', side(name), side(BARE), name.endsWith(' key') ? MAX_KEY : MAX_COMMAND),
        ),
      remarks: ['`key` of a controller asks the one that runs, through its socket.'],
    };
  } finally {
    await network.remove();
  }
}

/** User and system time of one run, the mean of some. */
async function cpuMsOf(words: Words, runs: number): Promise<number> {
  const before = childrenCpuMs();
  for (let i = 0; i < runs; i++) {
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`${words.join(' ')} ended with ${code}:\n${stderr}`);
  }
  return (childrenCpuMs() - before) / runs;
}

/** Of all processes that this one started and that have ended (proc(5), cutime and cstime). */
function childrenCpuMs(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * TICK_MS;
}
