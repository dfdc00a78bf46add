// Most commands in these tests run one after the other in a process that they share. Here the same
// commands run in a process each, and the two say the same and end with the same code.

import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '@latchkey/runtime/files';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandName, type CommandResult, runCommand, runProcess } from '../src/process.js';
import { TestNetwork } from '../src/network.js';
import { CONTROLLER } from './fixtures.js';

let network: TestNetwork;
beforeAll(async () => {
  network = await TestNetwork.create();
  await network.addController(CONTROLLER, '192.0.2.1:5683', ['192.0.2.7:5693']);
});
afterAll(() => network.remove());

describe('a command says the same in a worker as in a process of its own', () => {
  const CASES: readonly (readonly [what: string, code: number, name: CommandName, args: () => readonly string[]])[] = [
    ['help', 0, 'auth-server', () => ['controller', 'add', '--help']],
    ['an answer on standard output', 0, 'auth-server', () => ['controller', 'list', '--data', network.registry, '--json']],
    ['a command there is not', 2, 'auth-server', () => ['nonsense']],
    ['an option that is missing', 2, 'node-agent', () => ['status']],
    ['a refusal of the command line', 2, 'controller', () => ['key', '1', '--state', network.path('x'), '--label', 'x']],
    ['a refusal of a file', 2, 'auth-server', () => ['import', network.path('bad.csv'), '--data', network.registry]],
    ['a refusal of what is in the registry', 1, 'auth-server', () => ['node', 'show', '0badcafe', '--data', network.registry]],
    [
      'a question that nobody can answer',
      2,
      'auth-server',
      () => ['controller', 'remove', CONTROLLER, '--data', network.registry],
    ],
    [
      'a daemon that cannot start',
      2,
      'controller',
      () => ['run', '--credential', network.path('loose.json'), '--state', network.path('s')],
    ],
  ];

  it.each(CASES)('%s: exit code %i', async (_, code, name, args) => {
    await writeFile(network.path('bad.csv'), 'id,controller_id,controller,ik\n0000000z,00000001,192.0.2.1:5683,00\n');
    await writeFile(network.path('loose.json'), await readFile(network.credential(CONTROLLER)));
    await chmod(network.path('loose.json'), 0o644);
    const [shared, own] = [await runCommand(name, args()), await runProcess(name, args())];
    expect(shared).toEqual(own);
    expect(own.code).toBe(code);
    expect([own.stdout === '', own.stderr === ''].filter(Boolean).length).toBe(1);
    expect(own.stderr).not.toMatch(/^\s+at /m);
  });

  it('what comes on standard input is read', async () => {
    const install = (run: typeof runCommand, state: string): ReturnType<typeof runCommand> => {
      const args = ['install', '--state', network.path(state), '--id', '00000077', '--controller', '192.0.2.1:5683'];
      return run('node-agent', [...args, '--ik-file', '-'], { input: '00112233445566778899aabbccddeeff\n' });
    };
    const [shared, own] = [await install(runCommand, 'shared'), await install(runProcess, 'own')];
    expect([shared.code, own.code, shared.stderr, own.stderr]).toEqual([0, 0, '', '']);
    expect(shared.stdout.replace('shared', 'own')).toBe(own.stdout);
  });

  it('paths are taken from the folder that it works in', async () => {
    const list = async (run: typeof runCommand, folder: string): Promise<CommandResult> => {
      const cwd = network.path(folder);
      await mkdir(cwd);
      await run('auth-server', ['init', '--data', './here'], { cwd });
      expect(await exists(join(cwd, 'here'))).toBe(true);
      return run('auth-server', ['node', 'list', '--data', './there'], { cwd });
    };
    const [shared, own] = [await list(runCommand, 'shared-folder'), await list(runProcess, 'own-folder')];
    expect(shared).toEqual(own);
    expect(own).toMatchObject({ code: 2, stderr: expect.stringContaining('./there') as string });
  });
});
