// What becomes of the files that people have: each is read as it was meant, or refused with what is
// wrong and what to do.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { getPriority } from 'node:os';
import { Secret } from '@latchkey/protocol';
import { formatLabel } from '@latchkey/provisioning';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newAgeKeyPair } from '@latchkey/test-support/age-key-pair';
import { commandLine } from '../src/process.js';
import { TestNetwork } from '../src/network.js';
import { AdminClient, expectNoKey } from './admin-client.js';
import { CONTROLLER } from './fixtures.js';

const OTHER = '00000002';
const [AT, OTHER_AT] = ['192.0.2.1:5683', '192.0.2.2:5683'];
const HEADER = 'id,controller_id,controller,ik';

let network: TestNetwork;
let admin: AdminClient;
beforeAll(async () => {
  network = await TestNetwork.create();
  admin = new AdminClient(network);
  await network.addController(CONTROLLER, AT, ['192.0.2.7:5693']);
  await network.addController(OTHER, OTHER_AT, ['192.0.2.7:5693']);
});
afterAll(async () => {
  expectNoKey(admin.output, keys);
  await network.remove();
});

const keys: Secret[] = [];

/** 32 hex digits that no other call gives. */
function newKey(): string {
  const digits = `5eed${(keys.length + 1).toString(16).padStart(4, '0')}`.repeat(4);
  keys.push(Secret.fromHex(digits));
  return digits;
}

const row = (id: string, ik: string, idC = CONTROLLER, at = AT): string => [id, idC, at, ik].join(',');
const csv = (...rows: readonly string[]): string => [HEADER, ...rows, ''].join('\n');

let files = 0;
async function file(content: string | Uint8Array): Promise<string> {
  const path = network.path(`nodes-${++files}`);
  await writeFile(path, content, { mode: 0o600 });
  return path;
}

const tryToImport = async (content: string | Uint8Array, ...more: readonly string[]): ReturnType<AdminClient['try']> =>
  admin.try('import', await file(content), ...more);

async function taken(content: string | Uint8Array, ...more: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await tryToImport(content, ...more);
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
}

/** What a node-agent that installs a node says, and its exit code. */
const install = (id: string, ...more: readonly string[]): ReturnType<AdminClient['runOther']> =>
  admin.runOther('node-agent', ['install', '--state', network.path(`device-${++files}`), '--id', id, ...more]);

describe('a file of nodes', () => {
  it('is taken in whatever notation it comes, by an import and by a device', async () => {
    const rows = [row('0000a001', newKey()), row('0000a002', newKey())];
    const plain = csv(...rows);
    expect(await taken(plain)).toMatch(/^2 added, 0 changed, 0 unchanged, 0 rejected, as order \d+\n$/);
    const objects = rows.map((text) => {
      const [id, controller_id, controller, ik] = text.split(',');
      return { id, controller_id, controller, ik };
    });
    const notations: (string | Uint8Array)[] = [
      plain.replaceAll(',', ';'),
      plain.replaceAll(',', '\t'),
      `sep=;\r\n${plain.replaceAll(',', ';').replaceAll('\n', '\r\n')}`,
      `\uFEFF${plain}`,
      Buffer.from(`\uFEFF${plain.replaceAll(',', '\t')}`, 'utf16le'),
      JSON.stringify(objects),
      JSON.stringify(objects, null, 2),
      objects.map((object) => JSON.stringify(object)).join('\n'),
      csv(rows[0] ?? '', ',,,', rows[1] ?? '', ',,,', ''),
      plain.replaceAll('\n', ',,\n'),
    ];
    for (const content of notations) {
      expect(await taken(content), String(content)).toBe('0 added, 0 changed, 2 unchanged, 0 rejected\n');
      const { code, stdout } = await install('0000a002', '--manifest', await file(content));
      expect([code, stdout], String(content)).toEqual([0, expect.stringContaining(`controller ${CONTROLLER} is at ${AT}`)]);
    }
  });

  it('with another delimiter is refused by the name of that, by both', async () => {
    const path = await file(csv(row('0000a003', newKey())).replaceAll(',', '|'));
    const words = 'its fields are separated by "|"; commas, semicolons and tabs are read';
    expect(await admin.expectRejected(2, 'import', path)).toContain(words);
    expect(await install('0000a003', '--manifest', path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(words) as string,
    });
  });

  it('shows what is wrong with an ID, and nothing of a key', async () => {
    const rows = [
      row('a004', newKey()),
      row('1E+05', newKey()),
      row('0000a00g', newKey()),
      row(newKey(), '0000a004'),
      row('0000a005', newKey().slice(1)),
      row('0000a006', '1.23457E+31'),
    ];
    const { code, stdout, stderr } = await tryToImport(csv(...rows));
    expect([code, stderr]).toEqual([2, expect.stringContaining('6 lines of')]);
    const lines = stdout.split('\n').map((line) => line.replaceAll(/ +/g, ' '));
    expect(lines.slice(1, 7)).toEqual([
      '2 - id: expected 8 hex digits, not "a004": if a spreadsheet took its leading zeros, write 0000a004',
      '3 - id: expected 8 hex digits, not "1E+05": a spreadsheet made a number of it; import the original file with this column as text',
      '4 - id: expected 8 hex digits, not "0000a00g"',
      '5 - id: expected 8 hex digits, not a text of 32 characters, which is not shown: it may be a key',
      '6 0000a005 ik: expected 32 hex digits, not 31: a spreadsheet may have taken leading zeros',
      '7 0000a006 ik: expected 32 hex digits: a spreadsheet made a number of it; import the original file with this column as text',
    ]);
  });

  it('has one row where that stands twice alike, and is refused where it stands twice otherwise', async () => {
    const [id, ik] = ['0000a010', newKey()];
    const twice = csv(row(id, ik), row('0000a011', newKey()), row(id, ik.toUpperCase()));
    expect(await taken(twice)).toMatch(/^2 added, 0 changed, 0 unchanged, 0 rejected, 1 duplicate line, as order \d+\n$/);
    const { stdout } = await tryToImport(csv(row(id, ik), row(id, newKey()), row(id, ik, OTHER, OTHER_AT)), '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      unchanged: 1,
      rejected: 2,
      duplicates: 0,
      problems: [
        { line: 3, id, reason: 'stands in line 2 already, with another initial key' },
        { line: 4, id, reason: 'stands in line 2 already, with another controller' },
      ],
    });
  });

  it('loses one line to a bad quote, not those behind it', async () => {
    const good = [row('0000a020', newKey()), row('0000a021', newKey())];
    const { code, stdout } = await tryToImport(csv(`"${row('0000a022', newKey())}`, ...good), '--skip-bad');
    expect(code).toBe(0);
    expect(stdout).toContain('a quote stands in the wrong place, or does not end');
    expect(stdout).toMatch(/\n2 added, 0 changed, 0 unchanged, 1 rejected, as order \d+\n$/);
  });
});

describe('an initial key', () => {
  it('that is none is refused wherever a key comes in', async () => {
    const [zeros, ones] = ['0'.repeat(32), 'f'.repeat(32)];
    await taken(csv(row('0000b001', newKey())));
    for (const none of [zeros, ones]) {
      const path = await file(csv(row('0000b001', none)));
      const tried = await admin.try('import', path);
      expect([tried.code, tried.stdout]).toEqual([2, expect.stringContaining('no key was ever written there')]);
      const keyFile = await file(none);
      const label = formatLabel({ idI: 0xb001, idC: 1, controller: { host: '192.0.2.1', port: 5683 }, ik: Secret.fromHex(none) });
      const refusals = [
        await admin.expectRejected(2, 'node', 'reset', '0000b001', '--ik-file', keyFile, '--yes'),
        await admin.expectRejected(2, 'node', 'reset', '0000b001', '--manifest', path, '--yes'),
        (await install('0000b001', '--manifest', path)).stderr,
        (await install('0000b001', '--controller', AT, '--ik-file', keyFile)).stderr,
        (await install('0000b001', '--label', await file(label))).stderr,
      ];
      for (const said of refusals) expect(said).toMatch(/^latchkey-\S+: .*no key was ever written there/);
    }
  });

  it('of two nodes is refused, by line, unless the import says that they share it', async () => {
    const shared = newKey();
    const content = csv(row('0000b010', shared), row('0000b011', newKey()), row('0000b012', shared), row('0000b013', shared));
    const tried = await tryToImport(content, '--json');
    expect([tried.code, tried.stderr]).toEqual([2, expect.stringMatching(/\n.*--shared-key.*\n$/)]);
    expect(JSON.parse(tried.stdout)).toMatchObject({
      rejected: 3,
      problems: [
        { line: 2, id: '0000b010', reason: 'its initial key is that of node 0000b012 in line 4, too' },
        { line: 4, id: '0000b012', reason: 'its initial key is that of node 0000b010 in line 2, too' },
        { line: 5, id: '0000b013', reason: 'its initial key is that of node 0000b010 in line 2, too' },
      ],
    });
    const order = /as order (\d+)\n$/.exec(await taken(content, '--shared-key'))?.[1] ?? '';
    expect(await admin.run('order', 'show', order)).toMatch(/^initial key +shared by several nodes$/m);
    expect(await admin.json('order', 'show', order)).toMatchObject({ shared_key: true, nodes: 4 });
    // They are there, and share it already.
    expect(await taken(content)).toBe('0 added, 0 changed, 4 unchanged, 0 rejected\n');

    const late = await tryToImport(csv(row('0000b014', shared)));
    expect(late.stdout).toMatch(
      new RegExp(`^2 +0000b014 +its initial key is that of node 0000b01\\d of order ${order} in the registry, too$`, 'm'),
    );
  });

  it('of another node is warned of where a node is reset to it', async () => {
    const [one, two, shared] = [newKey(), newKey(), newKey()];
    await taken(csv(row('0000b030', one), row('0000b031', two)));
    await taken(csv(row('0000b032', shared), row('0000b033', shared)), '--shared-key');
    const reset = async (id: string, key: string): Promise<string> =>
      (await admin.try('node', 'reset', id, '--ik-file', await file(key), '--yes')).stderr;
    expect(await reset('0000b030', one)).toBe('');
    expect(await reset('0000b033', shared)).toBe('');
    expect(await reset('0000b030', two)).toBe(
      'Warning: node 0000b031 has this initial key, too: a device that holds it can join as either\n',
    );
  });

  it('may be taken over from a node that gets another in the same import', async () => {
    const [one, two] = [newKey(), newKey()];
    await taken(csv(row('0000b020', one), row('0000b021', two)));
    expect(await taken(csv(row('0000b020', two), row('0000b021', one)))).toMatch(
      /\n0 added, 2 changed, 0 unchanged, 0 rejected\n$/,
    );
  });
});

describe('the column of controllers', () => {
  it('is warned of where the registry has another address, once for each', async () => {
    const rows = [
      row('0000c001', newKey(), CONTROLLER, '192.0.2.9:5683'),
      row('0000c002', newKey()),
      row('0000c003', newKey(), CONTROLLER, '192.0.2.9:5683'),
      row('0000c004', newKey(), OTHER, 'gateway.example:5683'),
    ];
    const { code, stdout, stderr } = await tryToImport(csv(...rows), '--json');
    expect(code).toBe(0);
    const warnings = [
      `line 2 and 1 more: controller ${CONTROLLER} is at 192.0.2.9:5683 in the file, and at ${AT} in the registry`,
      `line 5: controller ${OTHER} is at gateway.example:5683 in the file, and at ${OTHER_AT} in the registry`,
    ];
    expect(JSON.parse(stdout)).toMatchObject({ added: 4, warnings });
    for (const warning of warnings) expect(stderr).toContain(`Warning: ${warning}\n`);
    expect(stderr).toMatch(/A device that is installed from this file asks at the address in the file\.\n$/);
  });

  it('may have the same address in another spelling', async () => {
    await network.addController('00000003', '[2001:db8::1]:5683', ['192.0.2.7:5693']);
    expect(await taken(csv(row('0000c010', newKey(), '00000003', '[2001:DB8:0:0::1]:5683')))).toMatch(/^1 added/);
  });
});

describe('an import that moves nodes to another controller', () => {
  it('asks before, with how many and from where to where', async () => {
    const [one, two] = [newKey(), newKey()];
    const ids = ['0000d001', '0000d002'] as const;
    await taken(csv(row(ids[0], one), row(ids[1], two)));
    const moved = csv(row(ids[0], one, OTHER, OTHER_AT), row(ids[1], two, OTHER, OTHER_AT), row('0000d003', newKey()));
    const question = `2 nodes move to another controller (2 from ${CONTROLLER} to ${OTHER})`;
    const controllers = async (): Promise<unknown[]> =>
      Promise.all(ids.map(async (id) => (await admin.json('node', 'show', id))['controller']));

    const asked = await tryToImport(moved);
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining(question) as string });
    expect(asked.stderr).toContain('Nothing was changed. Say --yes to do it.');
    expect(asked.stdout).toContain(`controller ${CONTROLLER} -> ${OTHER}`);
    const inJson = await tryToImport(moved, '--json');
    expect([inJson.code, JSON.parse(inJson.stdout)]).toEqual([2, expect.objectContaining({ done: false, order: null })]);
    expect((await tryToImport(moved, '--dry-run')).code).toBe(0);
    expect(await controllers()).toEqual([CONTROLLER, CONTROLLER]);

    expect(await taken(moved, '--yes')).toMatch(/\n1 added, 2 changed, 0 unchanged, 0 rejected, as order \d+\n$/);
    expect(await controllers()).toEqual([OTHER, OTHER]);
  });
});

it('is imported at a lower priority than that of daemons, in every thread', async () => {
  const args = ['import', '-', '--data', network.registry, '--installer', 'Kim'];
  const child = spawn(process.execPath, commandLine('auth-server', args), { stdio: ['pipe', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  const threads = async (): Promise<number[]> => (await readdir(`/proc/${child.pid}/task`)).map(Number);
  // It waits for its input, with the registry open.
  await expect.poll(async () => Math.min(...(await threads()).map(getPriority))).toBeGreaterThanOrEqual(10);
  child.stdin.end(csv(row('0000b001', newKey())));
  expect(await ended).toEqual([0, null]);
});

describe('a device', () => {
  it('is installed from its line, whatever is wrong with the lines of others', async () => {
    const bad = [
      row('x', newKey()),
      row('0000e002', 'x'),
      `"${row('0000e003', newKey())}`,
      row('0000e004', newKey(), CONTROLLER, 'nowhere'),
      '0000e005',
    ];
    const path = await file(csv(...bad.slice(0, 2), row('0000e001', newKey()), ...bad.slice(2)));
    expect(await install('0000e001', '--manifest', path)).toMatchObject({ code: 0, stderr: '' });
    expect((await install('0000e002', '--manifest', path)).stderr).toContain(`${path}, line 3: ik: expected 32 hex digits`);
    await taken(csv(row('0000e001', newKey())));
    expect(await admin.run('node', 'reset', '0000e001', '--manifest', path, '--yes')).toContain(
      'Node 0000e001 joins with initial key',
    );
  });

  it('is reset from a manifest of more than a megabyte', async () => {
    const [id, ik] = ['0000e010', newKey()];
    await taken(csv(row(id, newKey())));
    const others = Array.from({ length: 20_000 }, (_, i) => row((0xf000_0000 + i).toString(16), 'ab'.repeat(16)));
    const path = await file(csv(...others, row(id, ik)));
    await admin.run('node', 'reset', id, '--manifest', path, '--yes');
    expect((await admin.json('node', 'show', id))['key']).toBe(Secret.fromHex(ik).fingerprint);
  });
});

/** Runs a line of advice in a shell where the auth-server's command has its name. */
function runAsPrinted(line: string): string {
  const command = [process.execPath, ...commandLine('auth-server', [])].map((word) => `'${word}'`).join(' ');
  const named = `latchkey-auth-server() { ${command} "$@"; }`;
  return execFileSync('bash', ['-c', `${named}\nage() { cat "$2"; }\n${line}`], { encoding: 'utf8' });
}

it('a file that is encrypted is refused with the command that imports it, which works as printed', async () => {
  const order = await admin.json<{ order: number; manifest: string }>(
    'order',
    'create',
    '--installer',
    'Kim',
    '--controller',
    CONTROLLER,
    '--count',
    '2',
    '--out',
    network.path('kim and sons'),
  );
  const { recipient } = await newAgeKeyPair();
  const out = network.path("kim's");
  await admin.run('order', 'export', String(order.order), '--out', out, '--recipient', recipient);
  const said = await admin.expectRejected(2, 'import', `${out}/manifest.csv.age`, '--lifetime', 'none');
  const [, advice = ''] = /^Nothing was changed\. Decrypt it on the way:\n {2}(.*)$/m.exec(said) ?? [];
  expect(advice).toMatch(/^age -d .*manifest\.csv\.age'? \| latchkey-auth-server import - --lifetime none --data /);
  // As if age had decrypted it.
  expect(runAsPrinted(advice.replace(/age -d (?:'.*?'(?:\\''.*?')*|\S+)/, `age -d '${order.manifest}'`))).toBe(
    '0 added, 0 changed, 2 unchanged, 0 rejected\n',
  );
});
