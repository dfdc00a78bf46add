// Commands from another container, which cannot see the daemon's process: refused, for LMDB would
// take two with one number for one.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONTROLLER, orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';

const canUnshare = spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0;

/** Runs a command in another PID namespace. */
function runElsewhere(name: string, args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const main = fileURLToPath(new URL(`../../../${name}/dist/main.js`, import.meta.url));
  const command = ['--pid', '--fork', '--kill-child', process.execPath, main, ...args];
  return spawnSync('unshare', command, { encoding: 'utf8', timeout: 250_000, killSignal: 'SIGKILL' });
}

describe.skipIf(!canUnshare)('a command in another PID namespace (needs root and unshare)', () => {
  let running: RunningNetwork;
  let id: string;
  beforeAll(async () => {
    running = await startNetwork();
    const installed = await orderAndInstall(running.network);
    id = installed.id;
    await running.network.run('node-agent', ['join', '--state', installed.state]);
  });
  afterAll(() => running.network.remove());

  it.each([
    ['auth-server', () => ['node', 'list', '--data', running.network.registry]],
    ['controller', () => ['master-key', 'rotate', '--state', running.network.path(`controller-${CONTROLLER}`)]],
  ] as const)('of the %s is refused while the daemon runs', (name, args) => {
    const { status, stdout, stderr } = runElsewhere(name, args());
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(new RegExp(`in use by latchkey-${name} run .*, in another container\n.*shares its PID namespace`));
  });

  it('has keys from the controller that runs, which it need not share a store with', () => {
    const args = ['key', id, '--label', 'test', '--state', running.network.path(`controller-${CONTROLLER}`)];
    const { status, stdout, stderr } = runElsewhere('controller', args);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^[0-9a-f]{32}\n$/);
  });
});
