// Each process is killed at each step of an exchange and started again: the node joins, and node,
// server and controller hold one key.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DaemonProcess, LogLine } from '../src/process.js';
import {
  applicationKeys,
  CONTROLLER,
  orderAndInstall,
  type RunningNetwork,
  showNode,
  showStatus,
  startNetwork,
} from './fixtures.js';

let running: RunningNetwork;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

/**
 * The step at which to kill: a message that was just sent or received, as the log of that process
 * has it.
 */
const steps = {
  node: ['sent M1', 'received M4', 'sent M5', 'received M6'],
  controller: ['received M1', 'sent M2', 'received M3', 'sent M4', 'received M5', 'sent M7', 'received M8', 'sent M6'],
  'auth-server': ['received M2', 'sent M3', 'received M7', 'sent M8'],
} as const;

const cases = Object.entries(steps).flatMap(([who, whens]) => whens.map((when) => ({ who, when })));

function startNode(state: string): DaemonProcess {
  return running.network.start('node-agent', ['run', '--state', state, '--log-level', 'debug']);
}

interface Restarted {
  readonly node: DaemonProcess;
  /** What was killed. */
  readonly victim: DaemonProcess;
}

/**
 * Kills the process without warning when its log says so, and starts it again on what its disk
 * held.
 */
async function killAndRestart(
  who: string,
  node: DaemonProcess,
  state: string,
  at: (line: LogLine) => boolean,
): Promise<Restarted> {
  const { network, controller, authServer, controllerAddress, serverAddress } = running;
  if (who === 'node') {
    await node.waitFor(at);
    await node.stop('SIGKILL');
    return { node: startNode(state), victim: node };
  }
  const victim = who === 'controller' ? controller : authServer;
  await victim.waitFor(at);
  await victim.stop('SIGKILL');
  running =
    who === 'controller'
      ? { ...running, controller: await network.startController(CONTROLLER, controllerAddress) }
      : { ...running, authServer: await network.startAuthServer(serverAddress) };
  return { node, victim };
}

/**
 * The controller's own copy of the key is written beside M6 (docs/decisions/0004): a crash there
 * may cost that, and nothing else.
 */
async function expectCopyOrNone(id: string, state: string): Promise<void> {
  const { network } = running;
  const args = ['key', id, '--state', network.path(`controller-${CONTROLLER}`), '--label', 'test'];
  const { code, stdout, stderr } = await network.try('controller', args);
  const ofNode = await network.run('node-agent', ['key', '--state', state, '--label', 'test']);
  expect(code === 0 ? stdout === ofNode : stderr.includes('this controller has no key of node')).toBe(true);
}

describe.each(cases)('$who killed when it has $when', ({ who, when }) => {
  it('costs no key', { timeout: 900_000 }, async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network);
    const since = new Date().toISOString();
    const says = (step: string) => (line: LogLine) => line.time >= since && `${line.msg} ${String(line['message'])}` === step;
    const { node, victim } = await killAndRestart(who, startNode(state), state, says(when));
    await node.waitFor(({ msg }) => msg === 'joined', 600_000);
    await node.stop();
    expect(await showStatus(network, state)).toMatchObject({
      status: 'joined',
      open_candidates: 0,
      key: (await showNode(network, id))['key'],
    });
    // The kill comes a little after the line it waits for: what the controller had sent by then,
    // its log says before it sends it.
    if (who === 'controller' && victim.lines.some(says('sent M6'))) return expectCopyOrNone(id, state);
    const [ofNode, ofController] = await applicationKeys(network, id, state);
    expect(ofNode).toBe(ofController);
  });
});
