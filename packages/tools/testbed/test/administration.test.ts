// What an administrator does with orders and nodes, through the real commands, while the
// auth-server serves and nodes join.

import { allOf } from '@latchkey/registry';
import { readFile, stat } from 'node:fs/promises';
import { formatId, Secret } from '@latchkey/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdminClient, expectNoKey, readKeyFrom } from './admin-client.js';
import { CONTROLLER, type RunningNetwork, startNetwork } from './fixtures.js';
import { freePort } from '../src/network.js';
import { parseManifest } from '@latchkey/provisioning';

let running: RunningNetwork;
let admin: AdminClient;
/** All keys there ever were: none of them is to be said. */
const keys: Secret[] = [];

beforeAll(async () => {
  running = await startNetwork();
  admin = new AdminClient(running.network);
  keys.push(
    await readKeyFrom(running.network.path('auth-server', 'master.key')),
    await readKeyFrom(running.network.credential(CONTROLLER)),
  );
});
afterAll(() => running.network.remove());

/** Makes an order, installs its nodes, and gives their IDs in order. */
async function order(name: string, ...options: readonly string[]): Promise<{ ids: string[]; manifest: string; said: string }> {
  const { network } = running;
  const out = network.path(name);
  const said = await admin.run('order', 'create', '--controller', CONTROLLER, '--out', out, ...options);
  const manifest = `${out}/manifest.csv`;
  const lines = parseManifest(await readFile(manifest, 'utf8'), manifest);
  keys.push(...lines.map(({ ik }) => ik));
  const ids = lines.map(({ idI }) => formatId(idI));
  await Promise.all(ids.map((id) => network.install(id, manifest)));
  return { ids, manifest, said };
}

interface Row extends Record<string, unknown> {
  readonly id: string;
}

async function list(...filters: readonly string[]): Promise<string[]> {
  return (await admin.json<Row[]>('node', 'list', ...filters)).map(({ id }) => id);
}

describe('orders', () => {
  let kim: { ids: string[]; manifest: string; said: string };
  let ada: { ids: string[]; manifest: string; said: string };

  it('are made, listed and shown', async () => {
    kim = await order('kim', '--installer', 'Kim & Sons', '--count', '3');
    ada = await order(
      'ada',
      '--installer',
      'Ada',
      '--count',
      '2',
      '--shared-key',
      '--lifetime',
      '90d',
      '--grace',
      '1d',
      '--join-until',
      '2999-01-01',
    );
    expect(kim.said).toContain('Order 1: 3 nodes by Kim & Sons, keys last 30d\n');
    // The whole day, here.
    const until = new Date(2999, 0, 1, 23, 59, 59, 999).toISOString();
    expect(ada.said).toMatch(/\nThey may join until 2999-01-01T23:59:59\.999[+-]\d\d:\d\d \(.+\)\n/);
    const [table, shown, json] = await Promise.all([
      admin.run('order', 'list'),
      admin.run('order', 'show', '2'),
      admin.json('order', 'show', '2'),
    ]);
    expect(table.replaceAll(/[\dT:.-]+Z$/gm, 'TIME')).toBe(
      'ORDER  KIND   STATE  INSTALLER   CONTROLLER  NODES  JOINED  MAY JOIN FROM  UNTIL                     CREATED\n' +
        `1      order  open   Kim & Sons  ${CONTROLLER}    3      0       -              -                         TIME\n` +
        `2      order  open   Ada         ${CONTROLLER}    2      0       -              ${until}  TIME\n`,
    );
    expect(shown).toMatch(/^initial key +one for all$/m);
    expect(shown).toContain(`may join until  ${until}\n`);
    expect(json).toMatchObject({
      order: 2,
      installer: 'Ada',
      nodes: 2,
      joined: 0,
      shared_key: true,
      grace_seconds: 86_400,
      join_from: null,
    });
  });

  it('that cannot be made leave nothing behind', async () => {
    const { network } = running;
    const create = ['order', 'create', '--installer', 'Bo', '--count', '1'];
    const out = (name: string): string[] => ['--out', network.path(name)];
    const said = await Promise.all([
      admin.expectRejected(2, ...create, '--controller', CONTROLLER, ...out('kim')),
      admin.expectRejected(1, ...create, '--controller', '00000077', ...out('bo')),
      admin.expectRejected(
        2,
        ...create,
        '--controller',
        CONTROLLER,
        ...out('bo'),
        '--join-from',
        '2030-01-01',
        '--join-until',
        '2029-01-01',
      ),
      admin.expectRejected(2, ...create, '--controller', CONTROLLER, ...out('bo'), '--lifetime', 'soon'),
      admin.expectRejected(1, 'order', 'show', '77'),
      admin.expectRejected(2, ...create, '--controller', CONTROLLER, ...out('bo'), '--passphrase-file', 'correct horse battery'),
    ]);
    const named = ['exists already', 'not in the registry', 'not after', '45s', 'order list', 'that --passphrase-file names'];
    for (const [i, words] of named.entries()) expect(said[i]).toContain(words);
    expect(said.join()).not.toContain('horse');
    expect(await admin.json<unknown[]>('order', 'list')).toHaveLength(2);
    expect(await list('--limit', '100')).toHaveLength(5);
  });

  it('tell who has which initial key', async () => {
    expect(await admin.json('order', 'exposure')).toMatchObject([
      {
        keys: '3 of order 1',
        issued: [{ order: 1, installer: 'Kim & Sons' }],
        held: 3,
        joined: 0,
        controllers: [],
        retired_at: null,
      },
      { issued: [{ installer: 'Ada' }], nodes: 2, held: 2 },
    ]);
    expect(await Promise.all(ada.ids.map((id) => admin.join(id)))).toEqual([0, 0]);
    const [one] = await admin.json<Record<string, unknown>[]>('order', 'exposure', '2');
    expect(one).toMatchObject({ held: 0, joined: 2, controllers: [CONTROLLER] });
    expect(one?.['retired_at']).toMatch(/^2\d{3}-/);
    expect(await admin.run('order', 'exposure', '2')).toMatch(
      /^INITIAL KEY +ISSUED TO +HELD BY +JOINED +SEEN BY CONTROLLERS +POSSIBLE KEY HOLDERS +RETIRED\n/,
    );
  });

  // It prints an empty table and ends with 0.
  it('that are not there have no exposure', async () => {
    expect(await admin.expectRejected(1, 'order', 'exposure', '77')).toContain('there is no order 77');
  });

  it('that are suspended let nobody in for the first time, at once, until they are opened', async () => {
    await admin.run('order', 'suspend', '1');
    expect([await admin.join(kim.ids[0]!), await admin.why(kim.ids[0]!)]).toEqual([1, 'outside-join-window']);
    await admin.run('order', 'open', '1', '--join-from', '2999-01-01');
    expect([await admin.join(kim.ids[0]!), await admin.why(kim.ids[0]!)]).toEqual([1, 'outside-join-window']);
    await admin.run('order', 'open', '1');
    expect([await admin.join(kim.ids[0]!), await admin.why(kim.ids[0]!)]).toEqual([0, 'joined']);
  });

  it('hand over once more what has not joined, as a manifest or labels', async () => {
    const { network } = running;
    const [again, html] = [network.path('again'), network.path('labels.html')];
    expect(await admin.run('order', 'export', '1', '--out', again)).toMatch(/^2 nodes of order 1 have not joined\.\n/);
    await admin.run('order', 'labels', '1', '--out', html);
    const exported = await readFile(`${again}/manifest.csv`, 'utf8');
    const original = (await readFile(kim.manifest, 'utf8')).split('\n').filter((line) => !line.startsWith(kim.ids[0]!));
    expect(exported.split('\n').toSorted()).toEqual(original.toSorted());
    expect((await stat(html)).mode & 0o777).toBe(0o600);
    expect((await readFile(html, 'utf8')).match(/<svg/g)).toHaveLength(2);
    expect(await admin.expectRejected(2, 'order', 'labels', '1', '--out', html)).toContain('exists already');
    expect(await admin.expectRejected(2, 'order', 'export', '2', '--out', network.path('none'))).toContain(
      'all nodes of order 2 have joined',
    );
    const entries = await admin.json<Record<string, unknown>[]>('audit', 'list', '--limit', '2');
    expect(entries).toMatchObject([
      { what: 'order exported', order: 1, count: 2, note: 'manifest' },
      { what: 'order exported', order: 1, count: 2, note: 'labels' },
    ]);
  });

  it('that are closed stay so', async () => {
    const bo = await order('bo', '--installer', 'Bo', '--count', '1');
    expect(await admin.expectRejected(2, 'order', 'close', '3')).toContain('Say --yes');
    await admin.run('order', 'close', '3', '--yes');
    expect([await admin.join(bo.ids[0]!), await admin.why(bo.ids[0]!)]).toEqual([1, 'outside-join-window']);
    for (const command of ['open', 'suspend', 'resume'])
      expect(await admin.expectRejected(2, 'order', command, '3')).toContain('closed for good');
    await admin.run('node', 'remove', '--order', '3', '--yes');
  });

  it('are found in lists of nodes, by every filter, page by page', async () => {
    const [all, joined] = [[...kim.ids, ...ada.ids].toSorted(), [kim.ids[0]!, ...ada.ids].toSorted()];
    const waiting = all.filter((id) => !joined.includes(id));
    expect(
      await Promise.all([
        list(),
        list('--state', 'joined'),
        list('--state', 'enrolled', '--state', 'disabled'),
        list('--never-joined', '--order', '1', '--controller', CONTROLLER),
        list('--order', '2', '--expiring-before', '2999-01-01'),
        list('--expiring-before', '2020-01-01'),
      ]),
    ).toEqual([all, joined, waiting, waiting, ada.ids.toSorted(), []]);
    const page = await admin.try('node', 'list', '--limit', '3');
    expect(
      page.stdout
        .split('\n')
        .slice(1, 4)
        .map((line) => line.slice(0, 8)),
    ).toEqual(all.slice(0, 3));
    expect(page.stderr).toBe(`There are more: --after ${all[2]}\n`);
    const rest = await admin.try('node', 'list', '--limit', '2', '--after', all[2]!);
    expect([rest.stdout.split('\n').length, rest.stderr]).toEqual([4, '']);
  });

  it('are exported without keys, and with them to a file of mode 0600 alone', async () => {
    const { network } = running;
    const [plain, file] = [await admin.run('export', '--order', '1'), network.path('keys.jsonl')];
    const rows = plain
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Row);
    expect(rows.map(({ id }) => id)).toEqual(kim.ids.toSorted());
    expect(plain).not.toContain('secret_key');
    expect(await admin.expectRejected(2, 'export', '--with-keys')).toContain('--out FILE');
    expect(await admin.run('export', '--with-keys', '--never-joined', '--out', file)).toBe(`2 nodes written to ${file}\n`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const manifest = await readFile(kim.manifest, 'utf8');
    for (const line of (await readFile(file, 'utf8')).trimEnd().split('\n'))
      expect(manifest).toContain((JSON.parse(line) as { secret_key: string }).secret_key);
    expect(await admin.expectRejected(2, 'export', '--out', file)).toContain('exists already');
  });
});

describe('an import', () => {
  it('tells line by line what it would do, does it all or not at all, or leaves out what is bad', async () => {
    const { network, controllerAddress } = running;
    const [joined, waiting] = [(await list('--state', 'joined'))[0]!, (await list('--never-joined'))[0]!];
    const ik = (i: number): string => `${i}`.repeat(32);
    const line = (id: string, key: string, idC: string = CONTROLLER): string => `${id},${idC},${controllerAddress},${key}`;
    const lines = [
      'id,controller_id,controller,ik',
      line('000000f1', ik(1)),
      line('000000f2', ik(2), '00000009'),
      line('000000f1', ik(3)),
      line('xyz', ik(4)),
      line(joined, ik(5)),
      line(waiting, ik(6)),
    ];
    const file = await network.file('nodes.csv', `${lines.join('\n')}\n`);
    const before = await Promise.all([list(), admin.run('audit', 'list')]);
    const tried = await admin.try('import', file, '--dry-run', '--json');
    expect([tried.code, tried.stderr]).toEqual([2, expect.stringContaining('4 lines of')]);
    const dry = JSON.parse(tried.stdout) as { problems: { line: number; reason: string }[] };
    expect(dry).toMatchObject({
      dry_run: true,
      order: null,
      added: 1,
      changed: 1,
      rejected: 4,
      changes: [{ line: 7, id: waiting }],
    });
    expect(dry.problems.map(({ line }) => line)).toEqual([3, 4, 5, 6]);
    expect(dry.problems.map(({ reason }) => reason).join('\n')).toMatch(
      /controller 00000009 is not in the registry\nstands in line 2 already, with another initial key\n.*8 hex digits.*\nhas joined, with another initial key: node reset/,
    );
    expect(await admin.expectRejected(2, 'import', file)).toContain('4 lines of');
    expect(await Promise.all([list(), admin.run('audit', 'list')])).toEqual(before);

    expect(await admin.run('import', file, '--skip-bad', '--installer', 'Lee')).toContain(
      '1 added, 1 changed, 0 unchanged, 4 rejected, as order 4\n',
    );
    expect(await list('--order', '4')).toEqual(['000000f1']);
    const node = ['install', '--state', network.node('000000f1'), '--id', '000000f1', '--controller', controllerAddress];
    await network.run('node-agent', [...node, '--ik-file', '-'], ik(1));
    expect(await admin.join('000000f1')).toBe(0);
    // The other one has the key of its line now.
    const changed = Secret.fromHex(ik(6));
    expect(await admin.json('node', 'show', waiting)).toMatchObject({
      key: changed.fingerprint,
      initial_key: changed.fingerprint,
    });
    keys.push(changed, Secret.fromHex(ik(1)));
  });
});

describe('nodes', () => {
  it('are refused while they are disabled, and let in again', async () => {
    const [id] = await list('--state', 'joined');
    expect(await admin.run('node', 'disable', id!)).toBe('1 node disabled\n');
    expect([await admin.join(id!), await admin.why(id!)]).toEqual([1, 'disabled']);
    expect(await list('--state', 'disabled')).toEqual([id]);
    expect(await admin.run('node', 'enable', id!)).toBe('1 node enabled\n');
    expect(await admin.join(id!)).toBe(0);
    expect(await admin.expectRejected(2, 'node', 'disable', '--order', '1')).toMatch(/Disable \d+ nodes\?[^]*--yes/);
    expect(await list('--state', 'disabled')).toEqual([]);
    const life = await admin.run('node', 'show', id!);
    expect(life).toMatch(/node disabled[^]*node enabled[^]*node renewed/);
  });

  it('get the lifetime that is set for them with their next key', async () => {
    const [id] = await list('--state', 'joined');
    await admin.run('node', 'set', id!, '--lifetime', '1h', '--grace', 'none');
    expect(await admin.join(id!)).toBe(0);
    const { expires_at: expires } = await admin.json<{ expires_at: string }>('node', 'show', id!);
    expect(Date.parse(expires) - Date.now()).toBeLessThanOrEqual(3_600_000);
    expect(await admin.expectRejected(2, 'node', 'set', id!)).toContain('--lifetime or --grace');
  });

  it('are moved to another controller, and refused by the one they had', async () => {
    const { network, serverAddress } = running;
    const address = await freePort();
    await network.addController('00000002', address, [serverAddress]);
    keys.push(await readKeyFrom(network.credential('00000002')));
    const { ids } = await order('moved', '--installer', 'Mo', '--count', '1');
    const [id] = ids;
    expect(await admin.expectRejected(1, 'node', 'move', id!, '--controller', '00000077')).toContain(
      'latchkey-auth-server controller list --data ',
    );
    expect(await admin.run('node', 'move', id!, '--controller', '00000002')).toBe('1 node moved to 00000002\n');
    expect(await admin.join(id!)).toBe(1);
    // What is seen is written once a second at most.
    await expect.poll(() => admin.why(id!)).toBe('wrong-controller');
    expect(await admin.expectRejected(2, 'controller', 'remove', '00000002', '--yes')).toContain('1 node is assigned');
    await admin.run('node', 'move', '--from', '00000002', '--controller', CONTROLLER);
    expect(await admin.join(id!)).toBe(0);
    await admin.run('controller', 'remove', '00000002', '--yes');
    expect(await admin.json<Row[]>('controller', 'list')).toMatchObject([{ id: CONTROLLER }]);
  });

  it('that were reset to their initial key join again, in each of the ways', async () => {
    const { network } = running;
    const { ids, manifest } = await order('reset', '--installer', 'Ro', '--count', '2', '--shared-key');
    const [id, other] = ids as [string, string];
    const device = async (from: string): Promise<number | null> => {
      const state = network.node(`${id}-${Math.random()}`);
      await network.run('node-agent', ['install', '--state', state, '--manifest', from, '--id', id]);
      return (await admin.runOther('node-agent', ['join', '--state', state])).code;
    };
    expect(await admin.join(id)).toBe(0);
    expect(await admin.expectRejected(2, 'node', 'reset', id)).toContain('Say --yes');
    let since = performance.now();
    // Another node of the order still holds it: nobody has to look for the manifest.
    expect(await admin.run('node', 'reset', id, '--yes')).toMatch(/that it had had before\. Node \w+ gets no key before 20\d\d-/);
    await admin.expectHeldOff(id, since, () => device(manifest));
    await expect.poll(() => device(manifest), { timeout: 600_000, interval: 2_000 }).toBe(0);
    expect(await admin.join(other)).toBe(0);
    expect(await admin.expectRejected(2, 'node', 'reset', id, '--yes')).toContain('not in the registry any more');
    since = performance.now();
    await admin.run('node', 'reset', id, '--manifest', manifest, '--yes');
    await admin.expectHeldOff(id, since, () => device(manifest));

    const out = network.path('drawn');
    await admin.run('node', 'reset', id, '--out', out, '--yes');
    // At once: it never had that key.
    expect(await device(`${out}/manifest.csv`)).toBe(0);
    const ik = '0123456789abcdef0123456789abcdef';
    const reset = ['node', 'reset', id, '--ik-file', '-', '--yes', '--data', network.registry];
    expect((await admin.runOther('auth-server', reset, ik)).code).toBe(0);
    expect(await admin.json('node', 'show', id)).toMatchObject({ state: 'enrolled', key_is_initial: true });
  }, 900_000);

  it('whose initial keys got out get one each, all of an order at once, but for those that have joined', async () => {
    const { network } = running;
    const { ids, manifest } = await order('got-out', '--installer', 'Ro', '--count', '3', '--shared-key');
    const [joined, ...others] = ids as [string, string, string];
    expect(await admin.join(joined)).toBe(0);
    const { order: number } = await admin.json<{ readonly order: number }>('node', 'show', joined);
    const reset = ['node', 'reset', '--order', String(number), '--yes'];
    expect(await admin.expectRejected(2, ...reset)).toContain('--out is missing');
    const out = network.path('of-their-own');
    expect(await admin.run(...reset, '--out', out)).toContain('2 nodes join with initial keys of their own');
    const lines = (await readFile(`${out}/manifest.csv`, 'utf8')).trim().split('\n').slice(1);
    expect(lines.map((line) => line.slice(0, 8)).toSorted()).toEqual(others.toSorted());
    const keys = new Set(
      [...lines, ...(await readFile(manifest, 'utf8')).trim().split('\n').slice(1)].map((line) => line.split(',')[3]),
    );
    expect(keys.size).toBe(3);
    expect(await admin.json('node', 'show', joined)).toMatchObject({ state: 'joined' });
    for (const [from, code] of [
      [manifest, 1],
      [`${out}/manifest.csv`, 0],
    ] as const) {
      const state = network.node(`${others[0]}-${code}`);
      await network.run('node-agent', ['install', '--state', state, '--manifest', from, '--id', others[0]]);
      expect((await admin.runOther('node-agent', ['join', '--state', state])).code).toBe(code);
    }
    expect(await admin.expectRejected(2, 'node', 'reset', ...others, '--yes')).toContain(
      '2 nodes are to get an initial key each',
    );
  });

  it('that are removed are unknown', async () => {
    const [id] = await list('--state', 'joined');
    expect(await admin.expectRejected(2, 'node', 'remove', id!)).toContain('Remove 1 node? Their keys are erased.');
    expect(await admin.expectRejected(1, 'node', 'remove', id!, '00000bad', '--yes')).toContain(
      'node 00000bad is not in the registry',
    );
    expect(await admin.run('node', 'remove', id!, '--yes')).toBe('1 node removed\n');
    expect([await admin.join(id!), await admin.why(id!)]).toEqual([1, 'unknown']);
    expect(await admin.expectRejected(1, 'node', 'show', id!)).toContain('not in the registry');
  });

  it('have told no key to anybody, in all of this', async () => {
    const registry = await running.network.openRegistry();
    try {
      for (const { idI } of await allOf(registry.nodePages())) keys.push((await registry.node(idI))!.key);
      expectNoKey(admin.output + running.network.transcripts(), keys);
    } finally {
      await registry.close();
    }
    expect(await admin.run('audit', 'verify')).toMatch(/^The log holds\. HEAD \d+:[0-9a-f]{64}\n$/);
  });
});
