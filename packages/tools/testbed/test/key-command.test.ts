// Proves that `key` prints the same keys on both sides, from one generation, whether the controller
// runs or not, and that the short way through its socket prints what the program does.

import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandResult, runProcess } from '../src/process.js';
import { CONTROLLER, orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';

let running: RunningNetwork;
let id: string;
let node: string;
let controller: string;
beforeAll(async () => {
  running = await startNetwork();
  ({ id, state: node } = await orderAndInstall(running.network));
  controller = running.network.path(`controller-${CONTROLLER}`);
  await running.network.run('node-agent', ['join', '--state', node]);
});
afterAll(() => running.network.remove());

const LABELS = ['--label', 'mqtt-psk', '--label', 'tls-psk'];

/** By the commands that are installed, which have the quick way. */
function ofController(...args: readonly string[]): Promise<CommandResult> {
  return runProcess('controller', ['key', id, '--state', controller, ...args]);
}

function ofNode(...args: readonly string[]): Promise<CommandResult> {
  return runProcess('node-agent', ['key', '--state', node, ...args]);
}

/** By the programs themselves, which a command worker runs: without the quick way. */
function ofControllerProgram(...args: readonly string[]): Promise<CommandResult> {
  return running.network.try('controller', ['key', id, '--state', controller, ...args]);
}

function ofNodeProgram(...args: readonly string[]): Promise<CommandResult> {
  return running.network.try('node-agent', ['key', '--state', node, ...args]);
}

const OPTIONS: readonly (readonly string[])[] = [
  ['--label', 'mqtt-psk'],
  LABELS,
  [...LABELS, '--format', 'json'],
  ['--label=mqtt-psk', '--octets=32', '--format=base64'],
  [...LABELS, '--kid'],
  ['--label', 'a', '--label', 'a'],
];

describe.each(['runs', 'does not run'])('while the controller %s', (state) => {
  beforeAll(async () => {
    if (state === 'does not run') await running.controller.stop();
  });

  it.each(OPTIONS.map((options) => [options.join(' '), options] as const))(
    'both sides print the same: %s',
    async (_, options) => {
      const [device, quick, program] = [
        await ofNodeProgram(...options),
        await ofController(...options),
        await ofControllerProgram(...options),
      ];
      // Each side has its own clock for the end.
      const comparable = (text: string): string => text.replaceAll(/"not_after":"[^"]*"/g, '"not_after":"..."');
      expect(quick).toEqual({ code: 0, stdout: expect.any(String) as unknown, stderr: '' });
      expect(program).toEqual(quick);
      expect(comparable(quick.stdout)).toBe(comparable(device.stdout));
    },
  );

  it('several labels and identifiers come in the order that they were asked in', async () => {
    const { stdout } = await ofController(...LABELS, '--all');
    const json = JSON.parse((await ofController(...LABELS, '--all', '--format', 'json')).stdout) as {
      readonly kid: string;
      readonly keys: Readonly<Record<string, string>>;
    };
    expect(stdout).toBe(`${json.kid} ${json.keys['mqtt-psk']}\n${json.kid} ${json.keys['tls-psk']}\n`);
  });

  it('there is no former key, and one of them is asked for', async () => {
    const { code, stdout, stderr } = await ofController(...LABELS, '--previous');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`node ${id} has no former key that peers may still use\nUse its current key`);
  });

  it.each([
    [['--label', 'latchkey key id'], 'are reserved'],
    [['--label', ''], 'expected a name for the use'],
    [[...LABELS, '--octets', '256'], 'expected a whole number from 1 to 255'],
    [[...LABELS, '--octets', '8', '--octets', '16'], 'is given twice'],
    [[...LABELS, '--previous', '--all'], "cannot be used with option '--all'"],
    [[...LABELS, '--format', 'pem'], 'Allowed choices are hex, base64, json'],
    [[...LABELS, '--no-such'], "unknown option '--no-such'"],
    [[], "required option '--label <label>' not specified"],
  ] as const)('a mistake is refused in words: %j', async (options, words) => {
    const { code, stdout, stderr } = await ofController(...options);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(words);
  });
});

it('the store has the keys where the socket does not answer', async () => {
  const { network, controllerAddress } = running;
  await network.startController(CONTROLLER, controllerAddress);
  const before = await ofController('--label', 'test');
  await rm(join(controller, 'keys.sock'));
  expect(await ofController('--label', 'test')).toEqual(before);
  expect(before.code).toBe(0);
});

describe('on the node', () => {
  /** Without the end of a former key, which is told from the time of the call. */
  const comparable = ({ stdout, ...result }: CommandResult): CommandResult => ({
    ...result,
    stdout: stdout.replaceAll(/"until":"[^"]*"/g, '"until":"..."'),
  });

  it.each(
    [...OPTIONS, [...LABELS, '--all'], [...LABELS, '--previous', '--format', 'json']].map((one) => [one.join(' '), one] as const),
  )('the quick way prints what the program does, also after a renewal: %s', async (_, options) => {
    await running.network.run('node-agent', ['join', '--state', node]);
    const quick = await ofNode(...options);
    expect(quick).toEqual({ code: 0, stdout: expect.stringMatching(/./) as string, stderr: '' });
    expect(comparable(quick)).toEqual(comparable(await ofNodeProgram(...options)));
  });

  it('the quick way does without the program', async () => {
    const installed = dirname(realpathSync(join(process.env['LATCHKEY_TESTBED_BIN'] ?? '', 'latchkey-node-agent')));
    const copy = running.network.path('without-program');
    await cp(installed, copy, { recursive: true });
    await rm(join(copy, 'program.js'));
    const run = (...args: readonly string[]): ReturnType<typeof spawnSync> =>
      spawnSync(process.execPath, [join(copy, 'main.js'), ...args, '--state', node], { encoding: 'utf8' });
    expect(run('status').status).not.toBe(0);
    const { status, stdout } = run('key', ...LABELS);
    expect([status, stdout]).toEqual([0, (await ofNodeProgram(...LABELS)).stdout]);
  });

  it.each([
    [['--label', 'latchkey key id'], 2, 'are reserved'],
    [[...LABELS, '--previous', '--all'], 2, "cannot be used with option '--all'"],
    [[...LABELS, '--no-such'], 2, "unknown option '--no-such'"],
    [[], 2, "required option '--label <label>' not specified"],
  ] as const)('a mistake is refused in words: %j', async (options, code, words) => {
    const refused = await ofNode(...options);
    expect([refused.code, refused.stdout]).toEqual([code, '']);
    expect(refused.stderr).toContain(words);
  });
});
