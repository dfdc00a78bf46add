// Proves with the commands themselves, on a registry in a folder, that what an operator calls
// nodes, controllers and orders is set, found, listed and printed, and that a preview changes
// nothing.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { auditCommand } from '../src/commands/audit.js';
import { controllerCommand } from '../src/commands/controller.js';
import { initCommand } from '../src/commands/init.js';
import { nodeCommand } from '../src/commands/node.js';
import { orderCommand } from '../src/commands/order.js';
import { tokenCommand } from '../src/commands/token.js';
import { userCommand } from '../src/commands/user.js';

process.umask(0o077);

let folder: string;
let data: string;
let ids: string[];

/** What a command writes to standard output. */
async function run(...words: string[]): Promise<string> {
  const program = new Command();
  for (const command of [initCommand, controllerCommand, orderCommand, nodeCommand, auditCommand, tokenCommand, userCommand])
    program.addCommand(command());
  let text = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((piece) => {
    text += String(piece);
    return true;
  });
  try {
    await program.parseAsync([...words, '--data', data], { from: 'user' });
  } finally {
    write.mockRestore();
  }
  return text;
}

async function listed(...filters: string[]): Promise<string[]> {
  const items = JSON.parse(await run('node', 'list', '--json', ...filters)) as { id: string }[];
  return items.map(({ id }) => id);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-test-'));
  data = join(folder, 'data');
  await run('init');
  const credential = join(folder, 'controller.json');
  await run('controller', 'add', '00000001', '--nid', '192.0.2.1:5683', '--out', credential, '--name', 'Hall N');
  const order = ['order', 'create', '--installer', 'Kim', '--controller', '00000001', '--count', '3'];
  await run(...order, '--site', 'north', '--contact', '+49 30 1', '--out', join(folder, 'for-kim'));
  ids = await listed();
  const [first = '', second = ''] = ids;
  await run('node', 'set', first, '--name', 'Pump 3', '--location', 'pillar 7', '--tag', 'pump', '--tag', 'spare');
  await run('node', 'set', second, '--site', 'south', '--note', '=cmd()');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('an operator', () => {
  it('finds nodes by what was said of them, and describes those that match', async () => {
    const [first = '', second = '', third = ''] = ids;
    expect(await listed('--site', 'north')).toEqual([first, third]);
    expect(await listed('--search', 'PILLAR')).toEqual([first]);
    const preview = await run('node', 'set', '--at-site', 'north', '--site', 'east', '--dry-run');
    expect(preview).toBe(`2 nodes would be set to site east: ${first}, ${third}\n`);
    expect(await listed('--site', 'east')).toEqual([]);
    await expect(run('node', 'set', '--with-tag', 'pump', '--untag', 'pump')).rejects.toThrow('Describe 1 node?');
    expect(await run('node', 'set', '--with-tag', 'pump', '--untag', 'pump', '--yes')).toBe('1 node set to no tag pump\n');
    expect(await listed('--tag', 'spare')).toEqual([first]);
    const table = await run('node', 'list', '--columns', 'id,name,site,tags', '--sort', '-id', '--limit', '2');
    expect(table).toBe(`ID        NAME  SITE   TAGS\n${third}  -     north  -\n${second}  -     south  -\n`);
    const csv = await run('node', 'list', '--csv', '--columns', 'note,site', '--site', 'south');
    expect(csv).toBe("note,site\r\n'=cmd(),south\r\n");
    expect(await run('node', 'show', first)).toMatch(
      /^id +\w+\nname +Pump 3\nsite +north\nlocation +pillar 7\ntags +spare\nstate/,
    );
  });

  it('moves a controller to another address, and gets new manifests for what has not joined', async () => {
    const out = join(folder, 'new-manifests');
    const move = ['controller', 'set', '00000001', '--nid', '192.0.2.9:5683', '--out', out];
    const path = join(out, 'order-1', 'manifest.csv');
    expect(await run(...move)).toContain(`order 1: ${path}\n`);
    const lines = (await readFile(path, 'utf8')).trim().split('\n').slice(1);
    expect(lines.map((line) => line.split(',').slice(0, 3))).toEqual(ids.map((id) => [id, '00000001', '192.0.2.9:5683']));
    const nid = async (): Promise<string> => run('controller', 'list', '--columns', 'nid');
    const before = await nid();
    const badRecipient = ['--out', `${out}-2`, '--recipient', 'age1nobody'];
    await expect(run('controller', 'set', '00000001', '--nid', '192.0.2.8:5683', ...badRecipient)).rejects.toThrow('age1nobody');
    await expect(run('controller', 'set', '00000001', '--nid', '192.0.2.8:5683', '--out', out)).rejects.toThrow('exists already');
    await expect(run('controller', 'set', '00000001', '--name', 'x', '--out', `${out}-2`)).rejects.toThrow('--nid is missing');
    expect(await nid()).toBe(before);
  });

  it('asks why many nodes have not joined', async () => {
    const { nodes, groups } = JSON.parse(await run('node', 'why', '--site', 'south', '--json')) as {
      nodes: number;
      groups: { cause: string; examples: string[]; steps: unknown[] }[];
    };
    expect([nodes, groups.map(({ cause, examples }) => [cause, examples])]).toEqual([1, [['server-silent', [ids[1]]]]]);
    expect(groups[0]?.steps.length).toBeGreaterThan(0);
    expect(await run('node', 'why', '--order', '1')).toMatch(/^3 nodes, the auth-server does not run: \w+, \w+, \w+\n.*\n.*:\n/);
    expect(await run('node', 'why', '--tag', 'nothing')).toBe('No node matches\n');
    await expect(run('node', 'why')).rejects.toThrow('no node is named');
    await expect(run('node', 'why', ids[0]!, '--all')).rejects.toThrow('more than one of an ID, filters and --all');
  });

  it('lists tokens and users with the same options', async () => {
    await run('token', 'create', 'a,b', '--scope', 'read', '--scope', 'audit', '--out', join(folder, 'token'));
    const columns = ['--columns', 'name,state,scopes,from,last-used'];
    expect(await run('token', 'list', ...columns)).toBe(
      'NAME  STATE  SCOPES       FROM      LAST USED\na,b   valid  read, audit  anywhere  never\n',
    );
    expect(await run('token', 'list', '--csv', ...columns)).toBe(
      'name,state,scopes,from,last-used\r\n"a,b",valid,read; audit,,\r\n',
    );
    expect(await run('user', 'list', '--csv')).toBe('name,role,limited-to,password,link-until,added-by,added\r\n');
  });

  it('limits a token to orders, and to what is about orders', async () => {
    const create = (name: string, ...more: string[]): Promise<string> =>
      run('token', 'create', name, '--out', join(folder, name), '--scope', 'read', ...more);
    await expect(create('north', '--scope', 'audit', '--site', 'north')).rejects.toThrow(/--scope audit is not about orders/);
    await create('north', '--scope', 'describe', '--site', ' Su\u0308d ', '--site', 'north', '--order', '1', '--order', '2');
    await create('all');
    expect(await run('token', 'list', '--columns', 'name,limited-to')).toBe(
      'NAME   LIMITED TO\na,b    -\nnorth  order 1, order 2, site Süd, site north\nall    -\n',
    );
    expect(JSON.parse(await run('token', 'list', '--json'))).toMatchObject([
      { limits: null },
      { limits: { orders: [1, 2], sites: ['S\u00fcd', 'north'] } },
      { limits: null },
    ]);
    expect(await run('audit', 'list', '--csv', '--columns', 'what,details')).toMatch(
      /; limited to orders 1, 2, orders of 2 sites/,
    );
  });

  it('prints names and places on labels', async () => {
    const path = join(folder, 'labels.html');
    await run('order', 'labels', '1', '--out', path);
    const sheet = await readFile(path, 'utf8');
    for (const text of ['>Pump 3<', '>north, pillar 7<', '>south<']) expect(sheet).toContain(text);
  });

  it('describes orders and controllers, takes that back, and finds in the log only that', async () => {
    expect(await run('order', 'list')).toMatch(/^ORDER .* SITE .*\n.* north /);
    expect(await run('order', 'set', '1', '--site', '', '--contact', 'Kim, +49 30 2')).toBe('Order 1 is described\n');
    expect(await run('order', 'show', '1')).toMatch(/\ncontact +Kim, \+49 30 2\ncontroller/);
    expect(await listed('--site', 'north')).toEqual([]);
    expect(await run('controller', 'set', '00000001', '--name', '', '--contact', 'Ada')).toBe(
      'Controller 00000001 has no name, contact Ada from now on.\n',
    );
    expect(await run('controller', 'list', '--columns', 'id,name,contact')).toBe(
      'ID        NAME  CONTACT\n00000001  -     Ada\n',
    );
    const log = await run('audit', 'list', '--since', '2020-01-01T00:00Z', '--csv', '--columns', 'what,details');
    expect(log.split('\r\n')).toEqual(
      expect.arrayContaining(['node described,"name, location, tags"', 'order described,"order 1, contact, site"']),
    );
    expect(log).not.toMatch(/Pump|pillar|Ada|\+49/);
    expect(await run('audit', 'list', '--since', '2999-01-01T00:00Z', '--json')).toBe('[]\n');
  });
});
