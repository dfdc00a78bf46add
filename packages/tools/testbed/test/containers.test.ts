// Commands from another container, which cannot see the daemon's process: refused, for LMDB would
// take two with one number for one.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONTROLLER, orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';

const canUnshare = spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0;

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
    ['controller', () => ['key', id, '--label', 'test', '--state', running.network.path(`controller-${CONTROLLER}`)]],
    ['controller', () => ['master-key', 'rotate', '--state', running.network.path(`controller-${CONTROLLER}`)]],
  ] as const)('of the %s is refused while the daemon runs', (name, args) => {
    const main = fileURLToPath(new URL(`../../../${name}/dist/main.js`, import.meta.url));
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--pid', '--fork', '--kill-child', process.execPath, main, ...args()],
      { encoding: 'utf8', timeout: 250_000, killSignal: 'SIGKILL' },
    );
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(new RegExp(`in use by latchkey-${name} run .*, in another container\n.*shares its PID namespace`));
  });
});
