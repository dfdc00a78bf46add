// What comes of an administrator's mistakes and of commands that are interrupted: nothing is half
// done, and what is said is true.

import { readFile, readdir } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { decryptManifest } from '@latchkey/provisioning';
import { exists } from '@latchkey/runtime/files';
import { HAS_SCRIPT, Terminal } from '@latchkey/test-support/terminal';
import { commandLine } from '../src/process.js';
import { TestNetwork } from '../src/network.js';
import { AdminClient } from './admin-client.js';
import { CONTROLLER } from './fixtures.js';

let network: TestNetwork;
let admin: AdminClient;
beforeAll(async () => {
  network = await TestNetwork.create();
  admin = new AdminClient(network);
  await network.addController(CONTROLLER, '192.0.2.1:5683', ['192.0.2.7:5693']);
});
afterAll(() => network.remove());

/** Makes an order; gives its number and its manifest. */
async function order(
  name: string,
  count = 1,
  ...more: readonly string[]
): Promise<{ number: string; manifest: string; ids: string[] }> {
  const args = ['--installer', 'Kim', '--controller', CONTROLLER, '--count', String(count), '--out', network.path(name)];
  const made = await admin.json<{ order: number; manifest: string }>('order', 'create', ...args, ...more);
  const text = await readFile(made.manifest, 'utf8');
  const ids = [...text.matchAll(/^[0-9a-f]{8}(?=,)/gm)].map(([id]) => id);
  return { number: String(made.order), manifest: made.manifest, ids };
}

describe('an order that is interrupted', () => {
  it('leaves no manifest, is in no list, and is cleared away by the next', async () => {
    const out = network.path('interrupted');
    const args = ['order', 'create', '--data', network.registry, '--installer', 'Kim', '--controller', CONTROLLER];
    const registry = await network.openRegistry();
    try {
      const creating = network.start('auth-server', [...args, '--count', '100000', '--out', out]);
      while ((await registry.orders()).length === 0) await setImmediate();
      expect(await creating.stop('SIGINT')).toBeNull();
      expect(await registry.orders()).toMatchObject([{ state: 'pending' }]);
    } finally {
      await registry.close();
    }
    expect(await exists(`${out}/manifest.csv`)).toBe(false);
    expect(await admin.json('order', 'list')).toEqual([]);
    // In the same place, which is free.
    const again = await order('interrupted');
    expect([again.number, again.ids.length]).toEqual(['1', 1]);
    expect((await admin.json<unknown[]>('node', 'list')).length).toBe(1);
    expect(await readdir(out)).toContain('manifest.csv');
  });
});

describe.skipIf(!HAS_SCRIPT)('a secret that is typed on a terminal (needs script, of util-linux)', () => {
  const run = (...args: readonly string[]): Terminal =>
    new Terminal(commandLine('auth-server', [...args, '--data', network.registry]));

  async function type(terminal: Terminal, prompt: string, text: string): Promise<void> {
    await terminal.shows(prompt);
    terminal.type(`${text}\r`);
  }

  it('is asked for, and not shown: a new passphrase twice', async () => {
    const [{ number }, out] = [await order('to-encrypt'), network.path('typed')];
    const secret = 'four random words here';
    const terminal = run('order', 'export', number, '--passphrase-file', '-', '--out', out);
    await type(terminal, 'New passphrase (it is not shown): ', secret);
    await type(terminal, 'once more: ', secret);
    const screen = await terminal.end();
    expect([screen.includes('random'), screen.includes('whoever has the passphrase can read it')]).toEqual([false, true]);
    const octets = await readFile(`${out}/manifest.csv.age`);
    expect(Buffer.from(await decryptManifest(octets, 'it', { passphrase: secret })).toString()).toContain(',192.0.2.1:5683,');
  });

  it('is refused where the second passphrase is another: nothing is done', async () => {
    const out = network.path('mistyped');
    const orders = await admin.run('order', 'list');
    const create = ['order', 'create', '--installer', 'Kim', '--controller', CONTROLLER, '--count', '1', '--out', out];
    const terminal = run(...create, '--passphrase-file', '-');
    await type(terminal, 'New passphrase (it is not shown): ', 'four random words here');
    await type(terminal, 'once more: ', 'for random words here');
    expect(await terminal.end()).toContain('the two passphrases differ\nNothing was changed.');
    expect([await exists(out), await admin.run('order', 'list')]).toEqual([false, orders]);
  });

  it('may be an initial key, after which there is a question still', async () => {
    const { ids } = await order('to-reset');
    const key = '0123456789abcdef0123456789abcdef';
    const terminal = run('node', 'reset', ids[0]!, '--ik-file', '-');
    await type(terminal, 'Initial key (it is not shown): ', key);
    await type(terminal, '[y/N] ', 'y');
    const screen = await terminal.end();
    expect([screen.includes(key.slice(0, 8)), screen.includes('joins with initial key')]).toEqual([false, true]);
  });
});

// Nothing that matches looks as if nobody were missing.
describe('an order or a controller that there is not', () => {
  it.each([
    ['node list', ['--order', '99', '--never-joined'], 'there is no order 99'],
    ['node list', ['--order', '99', '--json'], 'there is no order 99'],
    ['node list', ['--controller', '00000099'], 'controller 00000099 is not in the registry'],
    ['export', ['--order', '77'], 'there is no order 77'],
    ['export', ['--controller', '00000099'], 'controller 00000099 is not in the registry'],
  ])('is no filter of %s %j', async (command, filters, said) => {
    expect(await admin.expectRejected(1, ...command.split(' '), ...filters)).toContain(said);
  });

  it('is not exported to a file either', async () => {
    const out = network.path('nothing.jsonl');
    expect(await admin.expectRejected(1, 'export', '--order', '77', '--out', out)).toContain('there is no order 77');
    expect(await exists(out)).toBe(false);
  });
});

describe('a manifest that is encrypted', () => {
  it('is called that, with what to do, and what comes of it is taken', async () => {
    const [{ number, ids }, out, secret] = [await order('plain'), network.path('encrypted'), 'four random words here'];
    const file = await network.file('passphrase', `${secret}\n`);
    await admin.run('order', 'export', number, '--out', out, '--passphrase-file', file);
    const encrypted = `${out}/manifest.csv.age`;
    const said = await admin.expectRejected(2, 'import', encrypted);
    expect(said).toMatch(
      /is encrypted, in the age format\nNothing was changed\. Decrypt it on the way:\n {2}age -d \S+ \| latchkey-auth-server import - --data \S+\n$/,
    );
    expect(await admin.expectRejected(2, 'node', 'reset', ids[0]!, '--manifest', encrypted, '--yes')).toContain(
      'Decrypt it first',
    );
    const text = Buffer.from(await decryptManifest(await readFile(encrypted), encrypted, { passphrase: secret })).toString();
    const imported = await admin.runOther('auth-server', ['import', '-', '--data', network.registry], text);
    expect([imported.code, imported.stdout]).toEqual([0, '0 added, 0 changed, 1 unchanged, 0 rejected\n']);
  });
});

describe('an import', () => {
  it('that is refused is no dry run in JSON, and nothing is done', async () => {
    const text = `id,controller_id,controller,ik\nxyz,${CONTROLLER},192.0.2.1:5683,${'2'.repeat(32)}\n`;
    const file = await network.file('bad.csv', text);
    const told = async (...more: readonly string[]): Promise<unknown> =>
      JSON.parse((await admin.try('import', file, '--json', ...more)).stdout);
    expect(await told()).toMatchObject({ dry_run: false, done: false, rejected: 1 });
    expect(await told('--dry-run')).toMatchObject({ dry_run: true, done: false, rejected: 1 });
    expect(await told('--skip-bad')).toMatchObject({ dry_run: false, done: true, rejected: 1 });
  });

  it('of a header and nothing below it is refused, as an empty file is', async () => {
    const header = 'id,controller_id,controller,ik\n';
    const file = await network.file('header.csv', header);
    expect(await admin.expectRejected(2, 'import', file)).toContain(`${file} has no nodes in it\nNothing was changed.`);
    const piped = await admin.runOther('auth-server', ['import', '-', '--dry-run', '--data', network.registry], `${header}\n`);
    expect([piped.code, piped.stderr]).toEqual([2, expect.stringContaining('standard input has no nodes in it')]);
  });

  // Nobody is told to change the mode of /tmp.
  it.each(['/tmp', '/dev/null'])('of %s, which is no file, is refused without advice about its mode', async (path) => {
    const said = await admin.expectRejected(2, 'import', path);
    expect([said.includes('it is not a file'), said.includes('chmod')]).toEqual([true, false]);
  });
});

describe('a node whose order is closed for good', () => {
  const line = (id: string, key: string): string => `id,controller_id,controller,ik\n${id},${CONTROLLER},192.0.2.1:5683,${key}\n`;

  it('gets no initial key that does not let it in, and gets in by the way that is told', async () => {
    const { number, ids } = await order('closed', 2);
    const [id, other] = ids as [string, string];
    await admin.run('order', 'close', number, '--yes');
    const out = network.path('worthless');
    const wayOut = `  latchkey-auth-server node remove ${id} --data ${network.registry}\n`;
    expect(await admin.expectRejected(2, 'node', 'reset', id, '--out', out, '--yes')).toMatch(
      /closed for good.*\nNothing was changed\./,
    );
    expect(await admin.expectRejected(2, 'node', 'reset', id, '--yes')).toContain(wayOut);
    expect(await admin.run('node', 'why', id)).toContain(wayOut);
    expect(await exists(out)).toBe(false);

    const file = await network.file('anew.csv', line(id, '1'.repeat(32)));
    const refused = await admin.try('import', file);
    expect([refused.code, refused.stdout]).toEqual([2, expect.stringContaining(`its order ${number} is closed for good`)]);
    await admin.run('node', 'remove', id, '--yes');
    await admin.run('import', file);
    expect([await admin.why(id), await admin.why(other)]).toEqual(['server-silent', 'outside-join-window']);
  });

  it('of an order that is suspended is told so when it is reset', async () => {
    const { number, ids } = await order('suspended');
    await admin.run('order', 'open', number, '--join-from', '2999-01-01Z');
    const out = network.path('early');
    expect(await admin.run('node', 'reset', ids[0]!, '--out', out, '--yes')).toMatch(
      /\nBut: Order \d+ of node \w+ opens at 2999-01-01.*\nWait until 2999-.*\nOr else:\n.*\n {2}latchkey-auth-server order open \d+ --data \S+\n$/,
    );
  });
});

describe('an order that was left open', () => {
  it('is told to be open within its window alone', async () => {
    const { number } = await order('window');
    const state = async (): Promise<unknown> => {
      const shown = await admin.json('order', 'show', number);
      expect((await admin.json<unknown[]>('order', 'list')).at(-1)).toEqual(shown);
      expect(await admin.run('order', 'show', number)).toMatch(new RegExp(`^state +${String(shown['state'])}$`, 'm'));
      return shown['state'];
    };
    expect(await state()).toBe('open');
    await admin.run('order', 'open', number, '--join-from', '2999-01-01Z');
    expect(await state()).toBe('scheduled');
    expect(await admin.run('order', 'list')).toMatch(/ MAY JOIN FROM +UNTIL .*\n[^]* scheduled .* 2999-01-01T00:00:00\.000Z +- /);
    await admin.run('order', 'suspend', number);
    expect(await state()).toBe('suspended');
    expect(await admin.run('order', 'resume', number)).toBe(`Order ${number} is resumed: scheduled\n`);
    expect(await state()).toBe('scheduled');
    await admin.run('order', 'suspend', number);
    await admin.run('order', 'close', number, '--yes');
    expect(await state()).toBe('closed');
  });
});

describe('a date', () => {
  beforeAll(() => vi.stubEnv('TZ', 'Europe/Berlin'));
  afterAll(() => vi.unstubAllEnvs());

  const CHRISTMAS_EVE = ['2999-12-23T23:00:00.000Z', '2999-12-24T22:59:59.999Z'] as const;

  it('is the whole day here, and said with its zone, when an order is made and when it is opened', async () => {
    const day = ['--join-from', '2999-12-24', '--join-until', '2999-12-24'];
    const args = ['--installer', 'Kim', '--controller', CONTROLLER, '--count', '1'];
    const said = await admin.run('order', 'create', ...args, '--out', network.path('day'), ...day);
    const window = 'from 2999-12-24T00:00:00+01:00 (Europe/Berlin) until 2999-12-24T23:59:59.999+01:00 (Europe/Berlin)';
    expect(said).toContain(`\nThey may join ${window}\n`);
    const number = /^Order (\d+):/.exec(said)?.[1] ?? '';
    const stored = async (): Promise<unknown> => {
      const { join_from: from, join_until: until } = await admin.json('order', 'show', number);
      return [from, until];
    };
    expect(await stored()).toEqual(CHRISTMAS_EVE);
    await admin.run('order', 'open', number);
    expect(await stored()).toEqual([null, null]);
    expect(await admin.run('order', 'open', number, ...day)).toBe(`Order ${number} is open ${window}\n`);
    expect(await stored()).toEqual(CHRISTMAS_EVE);
    const made = await admin.json('order', 'create', ...args, '--out', network.path('day-json'), ...day);
    expect([made['join_from'], made['join_until']]).toEqual(CHRISTMAS_EVE);
  });

  it('that is over is refused with its end, and with the command that suspends the order instead', async () => {
    const { number } = await order('past');
    const said = await admin.expectRejected(2, 'order', 'open', number, '--join-until', '2020-12-24');
    expect(said).toContain('--join-until 2020-12-24T23:59:59.999+01:00 (Europe/Berlin) is over already\nNothing was changed.');
    const [, suspend = ''] = /To suspend the order:\n {2}latchkey-auth-server (.*)\n$/.exec(said) ?? [];
    const { code, stdout } = await admin.runOther('auth-server', suspend.split(' '));
    expect([code, stdout]).toEqual([0, expect.stringContaining(`Order ${number} is suspended`)]);
  });

  it('that nodes are listed or exported by begins here, which standard error says unless it came with its zone', async () => {
    for (const command of [['node', 'list'], ['export']]) {
      const list = async (date: string): Promise<unknown> => (await admin.try(...command, '--expiring-before', date)).stderr;
      expect(await list('2999-07-01')).toBe('Nodes whose key expires before 2999-07-01T00:00:00+02:00 (Europe/Berlin)\n');
      expect(await list('2999-07-01Z')).toBe('');
    }
  });
});

describe('nodes that are named', () => {
  it('twice are meant once', async () => {
    const [id, other] = (await order('twice', 2)).ids as [string, string];
    expect(await admin.run('node', 'disable', id, other, id)).toBe('2 nodes disabled\n');
    expect(await admin.expectRejected(2, 'node', 'remove', id, id)).toContain('Remove 1 node?');
    expect(await admin.run('node', 'remove', id, id, '--yes')).toBe('1 node removed\n');
    expect(await admin.why(other)).toBe('disabled');
  });
});
