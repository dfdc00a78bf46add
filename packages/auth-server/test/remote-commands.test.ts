// Proves that a command prints the same wherever the registry is: each that goes over the API runs
// on a registry in a folder, and over the API on a copy of it.

import { existsSync } from 'node:fs';
import { chmod, cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { join } from 'node:path';
import { startApi } from '@latchkey/api';
import { readMasterKey } from '@latchkey/keyring';
import { decryptManifest, encryptManifest, generateRecipient, parseManifest, readCredential } from '@latchkey/provisioning';
import { Registry } from '@latchkey/registry';
import { commandToRun } from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { lockFolder } from '@latchkey/runtime/files';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { CommanderError, type Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { authServerProgram } from '../src/program.js';

process.umask(0o077);

/** Stays with the machine of the registry. */
const LOCAL = [
  'init',
  'run',
  'api',
  'api-gateway',
  'webhooks',
  'deliver',
  'health',
  'backup',
  'restore',
  'upgrade',
  'master-key rotate',
  'registry copy',
  'registry accept',
  'audit prune',
  'clock release',
  'token create',
  'token list',
  'token revoke',
  'user add',
  'user list',
  'user set',
  'user link',
  'user remove',
];
/** Is about contexts, not about a registry. */
const CONTEXTS = ['login', 'context add', 'context list', 'context use', 'context remove'];

const RECIPIENT = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p';

let folder: string;
let ids: string[];

interface WrittenFile {
  readonly path: string;
  readonly mode: number;
  readonly text: string;
}

/** What a command came to. */
interface Outcome {
  readonly stdout: string;
  readonly exitCode: number;
  readonly message?: string;
  readonly advice?: string | undefined;
  readonly files?: readonly WrittenFile[];
  /** Commands to paste. */
  readonly run?: readonly string[];
}

function exitOverride(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  command.commands.forEach(exitOverride);
}

async function run(environment: Readonly<Record<string, string>>, words: readonly string[]): Promise<Outcome> {
  const program = await authServerProgram(words[0]);
  exitOverride(program);
  let called: Command | undefined;
  program.hook('preAction', (_, action) => void (called = action));
  let stdout = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((piece) => {
    stdout += String(piece);
    return true;
  });
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  try {
    await program.parseAsync(words, { from: 'user' });
    return { stdout, exitCode: 0 };
  } catch (error) {
    if (error instanceof CommanderError) return { stdout, exitCode: 2, message: error.message };
    if (!(error instanceof Failure)) throw error;
    const { message, advice, run, exitCode } = error;
    return { stdout, exitCode, message, advice, run: run.map((line) => commandToRun(line, called)) };
  } finally {
    vi.unstubAllEnvs();
    write.mockRestore();
  }
}

const home = (): Record<string, string> => ({ XDG_CONFIG_HOME: join(folder, 'config') });
const here = (...words: string[]): Promise<Outcome> => run({ ...home(), LATCHKEY_DATA: join(folder, 'here') }, words);
const there = (...words: string[]): Promise<Outcome> => run({ ...home(), LATCHKEY_SERVER: server() }, words);
const server = (): string => `unix:${join(folder, 'api.sock')}`;

/** Both places have the same nodes; a file that is written is in neither's way. */
async function bothPlaces(line: string): Promise<readonly [here: Outcome, there: Outcome]> {
  const given = words(line);
  const outs = given.filter((word, i) => given[i - 1] === '--out' && !existsSync(word));
  const first = { ...(await here(...given)), files: await filesOf(outs) };
  for (const out of outs) await rm(out, { recursive: true, force: true });
  return [first, { ...(await there(...given)), files: await filesOf(outs) }];
}

/** Files that a command wrote, with mode and content. */
async function filesOf(paths: readonly string[]): Promise<readonly WrittenFile[]> {
  const found: WrittenFile[] = [];
  for (const path of paths.filter((one) => existsSync(one))) {
    const info = await stat(path);
    if (info.isDirectory()) found.push(...(await filesOf((await readdir(path)).toSorted().map((name) => join(path, name)))));
    else found.push({ path, mode: info.mode & 0o777, text: await readFile(path, 'latin1') });
  }
  return found;
}

/** ID0 to ID2 are nodes of order 1, DIR is a folder, `_` a blank. */
function words(line: string): string[] {
  const text = line
    .replaceAll(/ID(\d)/g, (_, i: string) => ids[Number(i)] ?? '')
    .replaceAll('DIR', folder)
    .replaceAll('RECIPIENT', RECIPIENT);
  return text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => (word === "''" ? '' : word.replaceAll('_', ' ')));
}

const stops: (() => Promise<void>)[] = [];

function openRegistry(data: string): Promise<Registry> {
  return readMasterKey({ kind: 'file', path: join(data, 'master.key') }).then((key) => Registry.open(data, key, 'api'));
}

/** What a server writes of IDs that a controller asks for and that the registry does not have. */
async function ask(unknown: readonly number[]): Promise<void> {
  const registry = await openRegistry(join(folder, 'here'));
  const at = Date.now();
  const rejected = { since: at, at, count: 1, refusal: 'unknownNode' as const, by: 1 };
  await registry.storage.recordActivity({ nodes: unknown.map((idI) => [idI, { rejected }] as const), controllers: [] });
  await registry.close();
}

async function serve(data: string): Promise<void> {
  const daemon = await startApi({
    config: { socket: join(folder, 'api.sock'), local: {}, remote: { socket: join(folder, 'remote.sock') } },
    folder: data,
    registry: { open: () => openRegistry(data) },
    log: new CapturedLog().log,
  });
  stops.push(() => daemon.stop());
}

/** Files of nodes, each with something else about it. */
async function writeImports(): Promise<void> {
  const header = 'id,controller_id,controller,ik,name';
  const line = (id: string, ik: string, controller: string = '00000001', name: string = ''): string =>
    `${id},${controller},192.0.2.1:5683,${ik.padStart(32, '0')},${name}`;
  const files: Readonly<Record<string, readonly string[]>> = {
    new: [header, line('000a0001', 'a1', '00000001', 'Pump 9'), line('000a0002', 'a2'), line('000a0002', 'a2')],
    moved: [header, line('000a0001', 'a1', '00000002'), line('000a0002', 'a22'), line('000a0003', 'a3')],
    bad: [header, line('000a0004', 'a4'), line('000a0005', 'a5', '00000009'), line('000a0006', 'nonsense'), line('x', 'a7')],
    shared: [header, line('000a0008', 'a8'), line('000a0009', 'a8'), line('000a000a', 'a1')],
    nothing: [header],
    headless: ['neither CSV nor JSON'],
    readable: [header, line('000a0001', 'a1')],
  };
  for (const [name, lines] of Object.entries(files)) await writeFile(join(folder, `${name}.csv`), `${lines.join('\n')}\n`);
  await chmod(join(folder, 'readable.csv'), 0o644);
  await writeFile(join(folder, 'sealed.age'), await encryptManifest(files['new']!.join('\n'), { recipients: [RECIPIENT] }));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-test-'));
  // Times in what is printed are those of now.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
  await here('init');
  const credential = join(folder, 'controller.json');
  await here('controller', 'add', '00000001', '--nid', '192.0.2.1:5683', '--out', credential, '--name', 'Hall N');
  await here('controller', 'add', '00000002', '--nid', '192.0.2.2:5683', '--out', `${credential}.2`);
  for (const [installer, count] of [
    ['Kim', '3'],
    ['Ada', '2'],
  ] as const)
    await here(
      ...words(
        `order create --installer ${installer} --controller 00000001 --count ${count} --site north --out DIR/for-${installer}`,
      ),
    );
  ids = (JSON.parse((await here('node', 'list', '--json', '--order', '1')).stdout) as { id: string }[]).map(({ id }) => id);
  await here('node', 'set', ids[0]!, '--name', 'Pump 3', '--location', 'pillar 7', '--tag', 'pump', '--tag', 'spare');
  await here(...words('installer add Kim --contact +49_30_1 --recipient RECIPIENT'));
  await here('installer', 'add', 'Nobody');
  await ask([0x0bad_f00d, 0x0bad_f00e]);
  await writeImports();
  await cp(join(folder, 'here'), join(folder, 'there'), { recursive: true });
  await serve(join(folder, 'there'));
});

afterAll(async () => {
  vi.useRealTimers();
  for (const stop of stops) await stop();
  await rm(folder, { recursive: true, force: true });
});

/** What follows each command, in order: what one changes, the next ones see. */
const REMOTE: Readonly<Record<string, readonly string[]>> = {
  'clock show': ['', '--json'],
  'controller list': ['', '--json', '--csv', '--sort -id --columns id,name'],
  'controller show': ['00000001', '00000001 --json', '00000009'],
  'order list': ['', '--json', '--csv', '--since 2999-01-01T00:00Z --json'],
  'order show': ['1', '2 --json', '77'],
  'order exposure': ['', '--json', '1 --json', '77'],
  'node list': [
    '',
    '--json',
    '--csv',
    '--json --limit 2',
    '--limit 2',
    '--json --after ID0 --limit 1',
    '--json --order 1 --state enrolled --never-joined --site north --tag pump --search PILLAR',
    '--json --installer Kim --controller 00000001 --since 2001-01-01T00:00Z',
    '--sort -id --columns id,name,tags',
    '--order 77 --json',
    '--controller 00000009 --json',
  ],
  'node show': ['ID0', 'ID0 --json', '0badf00d'],
  'node why': ['ID0', 'ID0 --json', 'ID0 --holds 1b21 --json', '0badf00d --json', '--order 1', '--all --json', '--order 77', ''],
  'node waiting': ['', '--json', '--limit 1', '--csv --sort -id'],
  'node dismiss': ['0badf00d', '0badf00e 0badf00d --json'],
  // Jobs are of one API: each command is called there, with its folder and without.
  'job list': [],
  'job show': [],
  'job cancel': [],
  'audit list': ['--limit 3 --json'],
  'audit export': [''],
  'audit follow': [],
  'audit verify': ['--json', '', '--against 1:00', `--against 1:${'0'.repeat(64)} --json`],
  export: [
    '',
    '--order 1',
    '--state joined',
    '--order 1 --out DIR/nodes.jsonl',
    '--order 1 --with-keys --out DIR/keys.jsonl',
    '--with-keys',
    '--controller 00000009',
  ],
  import: [
    'DIR/new.csv --dry-run',
    'DIR/new.csv --dry-run --json',
    'DIR/new.csv --installer Zoe --site east --lifetime 90d',
    'DIR/new.csv --json',
    'DIR/moved.csv',
    'DIR/moved.csv --yes --json',
    'DIR/bad.csv',
    'DIR/bad.csv --json',
    'DIR/bad.csv --dry-run',
    'DIR/bad.csv --skip-bad',
    'DIR/shared.csv',
    'DIR/shared.csv --shared-key',
    'DIR/nothing.csv',
    'DIR/headless.csv',
    'DIR/missing.csv',
    'DIR/readable.csv',
    'DIR/sealed.age',
  ],
  'controller set': [
    '00000001 --name Hall_S --json',
    '00000001 --nid 192.0.2.9:5683 --out DIR/manifests --json',
    '00000002 --pass-through on',
    '00000001',
    '00000009 --name x',
  ],
  'controller rotate': ['00000001 --out DIR/next.json', '00000009 --out DIR/next.json', '00000001 --out DIR/controller.json'],
  'controller add': [
    '00000003 --nid 192.0.2.3:5683 --server 192.0.2.7:5693 --out DIR/third.json',
    '00000001 --nid 192.0.2.3:5683 --out DIR/again.json',
  ],
  'controller remove': ['00000001 --yes', '00000003', '00000003 --yes', '00000009 --yes'],
  'installer list': ['', '--json', '--csv', '--sort -name --columns name,id,recipients,changed-by'],
  'installer show': ['Kim', 'Kim --json', 'Nobody', 'Bo'],
  'installer add': [
    'Ada_&_Söhne --site north --note gate_3 --json',
    'Bo --recipient RECIPIENT --recipient RECIPIENT',
    'Kim',
    'Zoe --recipient age1nonsense',
    'Zoe --recipient AGE-SECRET-KEY-1NONSENSE',
  ],
  'installer set': [
    'Ada_&_Söhne --recipient RECIPIENT --json',
    'Ada_&_Söhne --recipient RECIPIENT',
    "Kim --site east --note x --contact ''",
    'Bo --no-recipients',
    'Bo --no-recipients --recipient RECIPIENT',
    'Bo --recipient nonsense',
    'Bo',
    'Zoe --site x',
  ],
  'installer remove': ['Bo', 'Bo --yes', 'Bo --yes'],
  'order set': ['1 --contact Kim', '1 --contact Kim', "1 --contact ''", '77 --site x'],
  'order open': ['1', '1 --join-until 2999-12-24T00:00Z', '1 --join-until 2001-01-01T00:00Z', '77'],
  'order suspend': ['1', '1', '77'],
  'order resume': ['1', '77'],
  'order create': [
    '--installer Bo --controller 00000001 --count 2 --out DIR/for-bo --json',
    '--installer Bo --controller 00000001 --count 2 --out DIR/for-bo-sealed --join-until 2999-12-24T00:00Z --recipient RECIPIENT',
    '--installer Kim --controller 00000001 --count 1 --out DIR/for-kim-sealed --to-installer Kim',
    '--installer Kim --controller 00000001 --count 1 --out DIR/for-nobody --to-installer Zoe',
    '--installer Kim --controller 00000001 --count 1 --out DIR/for-nobody --to-installer Nobody',
    '--installer Bo --controller 00000009 --count 2 --out DIR/for-nobody',
    '--installer Bo --controller 00000001=1,00000002=2 --out DIR/for-both',
    '--installer Bo --controller 00000002=2,00000001=1 --out DIR/for-both-again --json',
    '--installer Bo --controller 00000001=1,00000009=2 --out DIR/for-nobody',
    '--installer Bo --controller 00000001=1,00000001=2 --out DIR/for-nobody',
    '--installer Bo --controller 00000001=1,00000002=2 --count 3 --out DIR/for-nobody',
    '--installer Bo --controller 00000001=0 --out DIR/for-nobody',
  ],
  'order export': [
    '1 --out DIR/again',
    '1 --out DIR/sealed --recipient RECIPIENT',
    '1 --out DIR/sealed-again --to-installer Kim',
    '77 --out DIR/again',
  ],
  'order labels': ['1 --out DIR/labels.html', '1 --format roll-62 --out DIR/roll.html', '77 --out DIR/labels.html'],
  'order close': ['2', '2 --yes', '2 --yes', '77'],
  'node disable': [
    'ID0',
    'ID0 ID1 --dry-run',
    '--order 1',
    '--order 1 --yes',
    '0badf00d',
    '--order 77 --yes',
    '--tag none --yes',
  ],
  'node enable': ['ID0', '--order 1'],
  'node move': ['ID0 --controller 00000002', '--from 00000002 --controller 00000001', 'ID0 --controller 00000009'],
  'node set': [
    'ID1 --name Pump_4 --lifetime 90d --tag new',
    '--order 1 --site east',
    '--order 1 --site east --grace 2d --yes',
    '--with-tag new --name Pump_5 --untag new --yes',
    '--order 1 --name Pump --yes',
    'ID0 ID1 --note x --dry-run',
    'ID0',
  ],
  'node reset': [
    'ID2 --out DIR/reset-sealed --to-installer Kim --yes',
    'ID2 --to-installer Kim --yes',
    'ID2 --out DIR/reset --yes',
    'ID1 ID2 --out DIR/reset-two --yes',
    '--order 2 --holding 0000 --out DIR/reset-none --yes',
    '--order 1 --out DIR/reset-all',
    'ID1 --holding 1b21 --out DIR/reset-none --yes',
    '--order 2 --holding nonsense --out DIR/reset-none --yes',
    '',
    '77',
  ],
  'node remove': ['ID2', 'ID2 --yes', 'ID2 --yes', '--order 77 --yes'],
};

function leaves(command: Command, name: string): string[] {
  if (command.commands.length === 0) return [name];
  return command.commands.flatMap((sub) => leaves(sub, `${name} ${sub.name()}`.trim()));
}

it('each command goes over the API, or is known to stay', async () => {
  expect([...Object.keys(REMOTE), ...LOCAL, ...CONTEXTS].toSorted()).toEqual(leaves(await authServerProgram(), '').toSorted());
});

/** These write keys that both registries have; others draw them. */
const WRITES_WHAT_IS_THERE = new Set(['order export', 'order labels', 'controller set', 'export']);

/** Keys are drawn in each place. What only the machine of the registry can do is said to be so. */
function comparable(command: string, { stdout, files = [], ...outcome }: Outcome): Outcome {
  const isSame = ({ path }: WrittenFile): boolean => WRITES_WHAT_IS_THERE.has(command) && !path.endsWith('.age');
  const text = stdout
    .replaceAll(/\[secret [0-9a-f]{4}\]/g, '[secret]')
    // An ID of an installer, and who calls.
    .replaceAll(/\b[0-9a-f]{16}\b/g, '[id]')
    .replaceAll(/(?<=changed_by": ?")[^"]*/g, '[actor]');
  const compared = files.map((file) => (isSame(file) ? file : { path: file.path, mode: file.mode, text: '' }));
  return { ...outcome, stdout: text.replaceAll('   # on the machine of the registry\n', '\n'), files: compared };
}

describe.each(Object.entries(REMOTE).filter(([name]) => !/^(?:audit|job)\b/.test(name)))('%s', (command, lines) => {
  it.each(lines.length === 0 ? [''] : lines)('%s: prints the same, and ends with the same code', async (line) => {
    const [local, remote] = await bothPlaces(`${command} ${line}`);
    expect(comparable(command, remote)).toEqual(comparable(command, local));
  });
});

describe('jobs', () => {
  // IDs of jobs may have what `words` stands something else for.
  const onTheMachine = (line: string): Promise<Outcome> =>
    run({ ...home(), LATCHKEY_DATA: join(folder, 'there') }, line.split(' '));
  const overTheApi = (line: string): Promise<Outcome> => there(...line.split(' '));
  const idOf = async (line: string): Promise<string> => {
    const before = await jobIds();
    // The clock stands still here, and jobs are listed by their time.
    vi.setSystemTime(Date.now() + 1_000);
    await overTheApi(line);
    return (await jobIds()).find((id) => !before.includes(id)) ?? '';
  };
  const jobIds = async (): Promise<string[]> =>
    (JSON.parse((await overTheApi('job list --json')).stdout) as { id: string }[]).map(({ id }) => id);

  it('are listed and shown the same, octet for octet, on the machine of the API and over it', async () => {
    const done = await idOf('node disable --order 2 --yes');
    const order = await idOf(`order create --installer Jo --controller 00000002 --count 1 --out ${join(folder, 'for-jo')}`);
    expect((await jobIds()).slice(0, 2)).toEqual([order, done]);
    for (const line of [
      'job list',
      'job list --json',
      'job list --csv --sort -kind',
      'job list --columns id,by,state',
      'job list --columns nonsense',
      `job show ${done}`,
      `job show ${done} --json`,
      `job show ${order} --json`,
      'job show aaaaaaaaaaaaaaaa',
      'job show short',
      `job cancel ${done}`,
      `job cancel ${done} --json`,
      'job cancel aaaaaaaaaaaaaaaa',
    ]) {
      const [local, remote] = [await onTheMachine(line), await overTheApi(line)];
      expect([line, remote]).toEqual([line, local]);
      expect([line, local.exitCode]).toEqual([line, /aaaa/.test(line) ? 1 : /nonsense|short|cancel/.test(line) ? 2 : 0]);
    }
    const shown = JSON.parse((await onTheMachine(`job show ${order} --json`)).stdout) as object;
    expect(shown).toMatchObject({ id: order, kind: 'orders.create', state: 'done', done: 1, total: 1, audit_from: null });
    const { stdout } = await overTheApi(`job show ${done}`);
    expect(stdout).toContain('\nstate   done\n');
  });

  it('are cancelled while they run, from either place', async () => {
    for (const cancel of [overTheApi, onTheMachine]) {
      // A diagnosis that goes on until it is cancelled.
      const endless = vi.spyOn(Registry.prototype, 'nodesInDetail').mockImplementation(async function (this: Registry) {
        for (;;) {
          await this.nodeCounts({}, Date.now(), 'state');
          await yieldToOthers();
        }
      });
      const before = await jobIds();
      const why = overTheApi('node why --all');
      let id: string | undefined;
      await expect
        .poll(async () => (id = (await jobIds()).find((one) => !before.includes(one))), { timeout: 60_000 })
        .toBeDefined();
      expect(await cancel(`job cancel ${id}`)).toMatchObject({
        exitCode: 0,
        stdout: `Job ${id} is cancelled after 0 of 1\n`,
      });
      expect(await why).toMatchObject({ exitCode: 1, message: expect.stringContaining(`job ${id} was cancelled`) });
      endless.mockRestore();
    }
  });
});

/** What names something by an ID, a number or a name, and a line in which that does not exist. */
const MISSING: Readonly<Record<string, string>> = {
  'controller show <id>': 'controller show 00000009',
  'controller set <id>': 'controller set 00000009 --name x',
  'controller rotate <id>': 'controller rotate 00000009 --out DIR/none',
  'controller remove <id>': 'controller remove 00000009 --yes',
  'order create --controller': 'order create --installer Bo --count 1 --controller 00000009 --out DIR/none',
  'order show <number>': 'order show 77',
  'order export <number>': 'order export 77 --out DIR/none',
  'order labels <number>': 'order labels 77 --out DIR/none.html',
  'order set <number>': 'order set 77 --site x',
  'order open <number>': 'order open 77',
  'order suspend <number>': 'order suspend 77',
  'order resume <number>': 'order resume 77',
  'order close <number>': 'order close 77 --yes',
  'order exposure <number>': 'order exposure 77',
  'order create --to-installer': 'order create --installer Bo --count 1 --controller 00000001 --to-installer Zoe --out DIR/none',
  'order export --to-installer': 'order export 1 --to-installer Zoe --out DIR/none',
  'installer show <name>': 'installer show Zoe',
  'installer set <name>': 'installer set Zoe --site x',
  'installer remove <name>': 'installer remove Zoe --yes',
  'export --controller': 'export --controller 00000009',
  'export --order': 'export --order 77',
  'node list --controller': 'node list --controller 00000009',
  'node list --order': 'node list --order 77',
  'node show <id>': 'node show 0badf00d',
  'node why --controller': 'node why --controller 00000009',
  'node why --order': 'node why --order 77',
  'node disable <ids>': 'node disable 0badf00d',
  'node disable --order': 'node disable --order 77 --yes',
  'node disable --from': 'node disable --from 00000009 --yes',
  'node enable <ids>': 'node enable 0badf00d',
  'node enable --order': 'node enable --order 77',
  'node enable --from': 'node enable --from 00000009',
  'node move <ids>': 'node move 0badf00d --controller 00000002',
  'node move --order': 'node move --order 77 --controller 00000002',
  'node move --from': 'node move --from 00000009 --controller 00000002',
  'node move --controller': 'node move ID0 --controller 00000009',
  'node set <ids>': 'node set 0badf00d --name x',
  'node set --order': 'node set --order 77 --site x --yes',
  'node set --from': 'node set --from 00000009 --site x --yes',
  'node reset <ids>': 'node reset 0badf00d --out DIR/none --yes',
  'node reset --to-installer': 'node reset ID0 --to-installer Zoe --out DIR/none --yes',
  'node reset --order': 'node reset --order 77 --out DIR/none --yes',
  'node remove <ids>': 'node remove 0badf00d --yes',
  'node remove --order': 'node remove --order 77 --yes',
  'node remove --from': 'node remove --from 00000009 --yes',
  'job show <id>': 'job show aaaaaaaaaaaaaaaa',
  'job cancel <id>': 'job cancel aaaaaaaaaaaaaaaa',
  'audit prune --up-to': 'audit prune --up-to 999999 --out DIR/none',
  'token revoke <id>': 'token revoke abcd2345',
  'user set <name>': 'user set nobody --role admin',
  'user link <name>': 'user link nobody --config DIR/browser.yaml',
  'user remove <name>': 'user remove nobody',
  'context use <name>': 'context use nowhere',
  'context remove <name>': 'context remove nowhere',
};
/** These make what they name, begin somewhere, or filter by what may not exist yet or any more. */
const FREE = new Set([
  'controller add <id>',
  'node why <id>',
  'node dismiss <ids>',
  'audit list --node',
  'audit list --from',
  'audit follow --from',
  'audit export --from',
  'token create <name>',
  'token create --from',
  'token create --order',
  'user add <name>',
  'user add --order',
  'user set --order',
  'context add <name>',
  'installer add <name>',
]);
const NAMING = /^(?:<(?:ids?|number|name)>|--(?:order|controller|node|from|up-to|to-installer))$/;

function namingParts(command: Command, name: string): string[] {
  if (command.commands.length > 0) return command.commands.flatMap((sub) => namingParts(sub, `${name} ${sub.name()}`.trim()));
  const parts = [
    ...command.registeredArguments.map((argument) => `<${argument.name()}>`),
    ...command.options.map(({ long, flags }) => long ?? flags),
  ];
  return parts.filter((part) => NAMING.test(part)).map((part) => `${name} ${part}`);
}

describe('something that is named and does not exist', () => {
  it('can be named by these arguments and options, and by no others', async () => {
    const known = [...Object.keys(MISSING), ...FREE];
    expect(known.toSorted()).toEqual(namingParts(await authServerProgram(), '').toSorted());
  });

  it.each(Object.entries(MISSING))('%s: the exit code is 1, here and over the API', async (_, line) => {
    const isLocal = [...LOCAL, ...CONTEXTS].some((name) => line.startsWith(`${name} `));
    await writeFile(
      join(folder, 'browser.yaml'),
      'api: {socket: /tmp/api.sock, browser: {listen: ["127.0.0.1:8080"], origin: "http://localhost:8080"}}\n',
    );
    const [first, second] = isLocal ? [await here(...words(line))] : await bothPlaces(line);
    for (const { exitCode, message, run } of second === undefined ? [first] : [first, second])
      expect([exitCode, message, run]).toEqual([
        1,
        expect.stringMatching(
          /^(?:node|controller) \w{8} is not in the registry$|^there is no (?:order|entry|job|token|user|context|installer) \w+$/,
        ),
        [
          expect.stringMatching(
            /^ {2}latchkey-auth-server (?:node|controller|order|audit|job|token|user|context|installer) list(?: --|$)/,
          ),
        ],
      ]);
  });

  it.each([
    'node disable 0badf00d --dry-run',
    'node enable 0badf00d --dry-run',
    'node set 0badf00d --name x --dry-run',
    'node move 0badf00d --controller 00000002 --dry-run',
    'node move ID0 --controller 00000009 --dry-run',
    'node remove 0badf00d --dry-run',
    'node remove 0badf00d',
    'controller remove 00000009',
  ])('%s: is said before anybody is asked, here and over the API', async (line) => {
    for (const outcome of await bothPlaces(line))
      expect(outcome).toMatchObject({
        exitCode: 1,
        message: expect.stringMatching(/^(?:node 0badf00d|controller 00000009) is not in the registry$/) as string,
      });
  });

  it.each([
    'controller add 00000088 --nid 192.0.2.8:5683 --out DIR/no-folder/c.json',
    'controller rotate 00000001 --out DIR/no-folder/c.json',
  ])('%s: a folder that is not there is found before anything is changed, here and over the API', async (line) => {
    const [local, remote] = await bothPlaces(line);
    expect(remote).toEqual(local);
    expect(local).toMatchObject({ exitCode: 1, message: `cannot write ${folder}/no-folder/c.json: no such file or folder` });
    const { stdout } = await there('controller', 'list', '--json');
    expect(stdout).not.toContain('00000088');
  });

  it('is so for --context too', async () => {
    expect(await run(home(), ['order', 'list', '--context', 'nowhere'])).toMatchObject({ exitCode: 1 });
  });
});

describe('the audit log', () => {
  /** The log names who did something: it is that of one registry, in both places. */
  const beside = (...given: string[]): Promise<Outcome> => run({ ...home(), LATCHKEY_DATA: join(folder, 'there') }, given);

  it.each([
    'audit list --json',
    'audit list --limit 3 --json',
    'audit list --from 2 --limit 4 --json',
    'audit list --node ID0 --csv',
    'audit list --node ID0 --from 1 --limit 2 --json',
    'audit list --since 2999-01-01T00:00Z --json',
    'audit export',
    'audit export --from 5',
    'audit verify --json',
    'audit verify',
    'audit verify --against 1:00',
    `audit verify --against 1:${'0'.repeat(64)} --json`,
  ])('prints the same: %s', async (line) => {
    const there_ = await there(...words(line));
    expect(there_).toEqual(await beside(...words(line)));
    expect(there_.stdout === '' ? there_.message : there_.stdout).not.toBe('');
  });

  it('is followed from there', async () => {
    const before = new Set(process.listeners('SIGTERM'));
    const { stdout } = await beside('audit', 'export');
    const followed = there('audit', 'follow', '--from', '1');
    // The command stops once it has printed what is there.
    await expect.poll(() => process.listeners('SIGTERM').filter((listener) => !before.has(listener)).length).toBeGreaterThan(0);
    for (const listener of process.listeners('SIGTERM')) if (!before.has(listener)) listener('SIGTERM');
    expect((await followed).stdout).toContain(stdout.split('\n')[0]);
  });
});

describe('a context', () => {
  const anywhere = (line: string, environment: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
    run({ ...home(), ...environment }, words(line));

  it('is added, used and removed by one command at a time, so that none undoes another', async () => {
    const at = { XDG_CONFIG_HOME: join(folder, 'one-at-a-time') };
    const list = async (): Promise<string> => (await anywhere('context list --csv --columns name,in-use', at)).stdout;
    await anywhere('context add one --server unix:/one.sock', at);
    await anywhere('context add two --server unix:/two.sock', at);
    const before = await list();
    const lock = await lockFolder(join(at.XDG_CONFIG_HOME, 'latchkey'), 'another command');
    for (const line of ['add three --server unix:/three.sock', 'use two', 'use', 'remove one'])
      expect(await anywhere(`context ${line}`, at)).toMatchObject({
        exitCode: 1,
        message: expect.stringContaining('is in use by another command') as string,
      });
    expect(await list()).toBe(before);
    await lock.release();
    await anywhere('context remove one', at);
    expect(await list()).toBe('name,in-use\r\ntwo,false\r\n');
  });

  it('names a registry, for the user alone, and commands work on the one in use', async () => {
    const path = join(folder, 'config', 'latchkey', 'contexts.json');
    const { stdout: orders } = await there('order', 'list', '--json');
    expect(await anywhere('order list')).toMatchObject({ exitCode: 2, message: 'no registry is named' });
    expect((await anywhere(`context add plant --server ${server()}`)).stdout).toBe(`Context plant is in ${path}, and in use\n`);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await writeFile(join(folder, 'token'), `lk_${'a'.repeat(52)}\n`, { mode: 0o600 });
    await anywhere('context add other --server unix:/nowhere.sock --token-file DIR/token');
    // Checked at once: a context that cannot work is of no use.
    expect(await anywhere('context add wrong --server https://plant.example --token-file DIR/none.token')).toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('none.token, is not there') as string,
    });
    expect(await anywhere('context add wrong --server https://plant.example --ca-file DIR/token')).toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('expected a certificate in PEM') as string,
    });
    const none = { ca_file: null, pin: null, client_cert: null, client_key: null, identity_file: null };
    expect(JSON.parse((await anywhere('context list --json')).stdout)).toEqual([
      { name: 'plant', in_use: true, server: server(), token_file: null, ...none },
      { name: 'other', in_use: false, server: 'unix:/nowhere.sock', token_file: join(folder, 'token'), ...none },
    ]);
    expect((await anywhere('order list --json')).stdout).toBe(orders);
    expect((await anywhere('order list --json --context plant', { LATCHKEY_DATA: '/nowhere' })).stdout).toBe(orders);
    // The registry of this machine, where one is named.
    expect(await anywhere('order list', { LATCHKEY_DATA: '/nowhere' })).toMatchObject({ exitCode: 2 });
    expect((await anywhere('order list --json --data DIR/there')).stdout).toBe(orders);
    expect(await anywhere(`context add plant --server ${server()}`)).toMatchObject({ exitCode: 2 });
    expect((await anywhere('context use other')).stdout).toBe('Context other is in use: unix:/nowhere.sock\n');
    expect((await anywhere('context remove other')).stdout).toBe('Context other is removed, and none is in use\n');
    expect(await anywhere('order list')).toMatchObject({ exitCode: 2, message: 'no registry is named' });
    expect(await anywhere('order list --context other')).toMatchObject({
      exitCode: 1,
      run: ['  latchkey-auth-server context list'],
    });
  });

  it('is repeated in advice, where the command that it names takes it', async () => {
    expect(await anywhere('node show 0badf00d --context plant')).toMatchObject({
      exitCode: 1,
      run: ['  latchkey-auth-server node list --context plant'],
    });
    const { stdout } = await anywhere('node why ID0 --context plant');
    expect(stdout).toContain('\n  latchkey-auth-server run   # on the machine of the registry\n');
  });

  it.each([
    ['order list --data DIR/there --server unix:/x', {}, '--data is of a registry on this machine'],
    ['order list --master-key-file x --context plant', {}, '--master-key-file is of a registry on this machine'],
    ['order list --server unix:/x --context plant', {}, '--server and --context name a registry each'],
    ['order list', { LATCHKEY_DATA: '/x', LATCHKEY_SERVER: 'unix:/x' }, 'LATCHKEY_SERVER and LATCHKEY_DATA are both set'],
    [
      'order list --data DIR/there --pin sha256:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=',
      {},
      '--pin is of a registry elsewhere',
    ],
    ['order list --data DIR/there --identity-file DIR/identity.txt', {}, '--identity-file is of a registry elsewhere'],
    ['order list --server http://plant.example', {}, 'expected https://HOST'],
    ['order list --server https://ada:secret@plant.example', {}, 'expected https://HOST'],
    ['order list --server https://plant.example/v1', {}, 'expected https://HOST'],
    ['order list --server unix:/x --pin abcd', {}, 'expected sha256:'],
    ['order list --server https://plant.example', {}, 'the token for https://plant.example is missing'],
    // The token of one server goes to no other one.
    [
      'order list --server https://plant.example',
      { LATCHKEY_TOKEN_FILE: '/x' },
      'the token for https://plant.example is missing',
    ],
    [
      'order list',
      { LATCHKEY_SERVER: 'https://plant.example', LATCHKEY_TOKEN_FILE: '/x' },
      'the file that LATCHKEY_TOKEN_FILE names',
    ],
    ['order list --server https://plant.example --token-file DIR/readable.token', {}, 'readable.token'],
    ['controller add 00000007 --nid 192.0.2.1:1 --out DIR/7 --server https://plant.example', {}, 'HOST:PORT'],
    ['order create --installer x --controller 00000001 --device-keys x --out DIR/x --context plant', {}, 'device keys do not go'],
    ['node reset ID0 --context plant --yes', {}, '--out is missing'],
  ] as const)('is refused in words: %s', async (line, environment, says) => {
    const path = join(folder, 'readable.token');
    await writeFile(path, 'lk_abc');
    await chmod(path, 0o644);
    const { exitCode, message } = await anywhere(line, environment);
    expect([message, exitCode]).toEqual([expect.stringContaining(says), 2]);
  });

  it.each(LOCAL.filter((name) => !['api-gateway', 'webhooks', 'deliver', 'health'].includes(name)))(
    'does not reach %s',
    async (name) => {
      for (const option of ['--server', '--context'])
        expect(await anywhere(`${name} ${option} x`)).toMatchObject({
          exitCode: 2,
          message: `\`${name}\` works on the registry of this machine, and does not go over the API`,
        });
    },
  );

  it('says where nothing answers', async () => {
    expect(await anywhere('order list --server unix:DIR/nothing.sock')).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('nothing.sock'),
    });
  });
});

/** A proxy, as far as the API is concerned: it says where a caller is. */
async function proxyFrom(address: string): Promise<string> {
  const path = join(folder, 'proxy.sock');
  const proxy = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const options = { method, path: url, headers: { ...headers, 'x-forwarded-for': address } };
    const forwarded = request({ socketPath: join(folder, 'remote.sock'), ...options }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  await new Promise<void>((resolve) => proxy.listen(path, resolve));
  onTestFinished(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return `unix:${path}`;
}

describe('a token with the scope keys', () => {
  const create = (line: string): Promise<Outcome> =>
    here(...words(`token create ordering --out DIR/keys.token --scope keys ${line}`));

  it.each([
    ['--from 192.0.2.7', '--recipient is missing'],
    ['--recipient RECIPIENT', '--from is missing'],
    ['--recipient age1x --from 192.0.2.7', 'not a recipient'],
  ])('is not made with only %s', async (line, says) => {
    expect(await create(line)).toMatchObject({ exitCode: 2, message: expect.stringContaining(says) });
    expect(existsSync(join(folder, 'keys.token'))).toBe(false);
  });

  it('is no other one with recipients', async () => {
    expect(await here(...words('token create x --scope read --recipient RECIPIENT --out DIR/keys.token'))).toMatchObject({
      exitCode: 2,
      message: '--recipient is of --scope keys, which is missing',
    });
  });

  it('has keys handed to its recipients only; their identity opens them here', async () => {
    const { recipient, identity } = await generateRecipient();
    await writeFile(join(folder, 'identity.txt'), `# public key: ${recipient}\n${identity}\n`);
    const token = words(
      `token create ordering --data DIR/there --scope read --scope orders --scope keys --from 192.0.2.0/24 --recipient ${recipient} --out DIR/keys.token`,
    );
    expect(await run(home(), token)).toMatchObject({ exitCode: 0 });
    const place = { LATCHKEY_SERVER: await proxyFrom('192.0.2.7'), LATCHKEY_TOKEN_FILE: join(folder, 'keys.token') };
    const command = (line: string): Promise<Outcome> => run({ ...home(), ...place }, words(line));

    const order = 'order create --installer Di --controller 00000002 --count 2 --out DIR/by-token';
    const foreign = {
      exitCode: 1,
      message: expect.stringContaining('not among those'),
      advice: expect.stringContaining('--identity-file'),
    };
    expect(await command(order)).toMatchObject(foreign);
    expect(await command(`${order} --recipient RECIPIENT`)).toMatchObject(foreign);
    // Kim has that recipient, and the token does not.
    expect(await command(`${order} --to-installer Kim`)).toMatchObject(foreign);

    expect(await command(`${order} --identity-file DIR/identity.txt --json`)).toMatchObject({ exitCode: 0 });
    expect(parseManifest(await readFile(join(folder, 'by-token', 'manifest.csv'), 'utf8'), 'manifest.csv').length).toBe(2);
    expect(await command(`${order}-sealed --recipient ${recipient}`)).toMatchObject({ exitCode: 0 });
    const sealed = await readFile(join(folder, 'by-token-sealed', 'manifest.csv.age'));
    const opened = await decryptManifest(sealed, 'manifest.csv.age', { identities: [identity] });
    expect(parseManifest(Buffer.from(opened).toString(), 'manifest.csv').length).toBe(2);
    const added = await command('controller rotate 00000002 --identity-file DIR/identity.txt --out DIR/by-token.json');
    expect([added.message, (await readCredential(join(folder, 'by-token.json'))).idC]).toEqual([undefined, 2]);

    await writeFile(join(folder, 'identity.txt'), `${identity}\n${identity}\n`);
    expect(await command(`${order} --identity-file DIR/identity.txt`)).toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('expected one identity'),
    });
  });
});

describe('a token without the scope keys', () => {
  async function caller(scopes: string): Promise<(line: string) => Promise<Outcome>> {
    const path = join(folder, `${scopes.replaceAll(' ', '-')}.token`);
    const options = scopes.split(' ').flatMap((scope) => ['--scope', scope]);
    const made = await run(home(), ['token', 'create', 'ci', '--data', join(folder, 'there'), ...options, '--out', path]);
    expect(made).toMatchObject({ exitCode: 0 });
    const place = { LATCHKEY_SERVER: `unix:${join(folder, 'remote.sock')}`, LATCHKEY_TOKEN_FILE: path };
    return (line) => run({ ...home(), ...place }, words(line));
  }

  it('names and describes a node with the scope that is for that', async () => {
    const command = await caller('read describe');
    expect(await command('node set ID1 --name Pump_9 --note by_the_door')).toMatchObject({
      exitCode: 0,
      stdout: '1 node set to name Pump 9, note by the door\n',
    });
    expect(await command('node set ID1 --name Pump_9')).toMatchObject({
      exitCode: 0,
      stdout: '0 nodes set to name Pump 9, 1 already so\n',
    });
    expect(await command('node set ID1 --location pillar_2 --dry-run')).toMatchObject({
      stdout: `1 node would be set to location pillar 2: ${ids[1]}\n`,
    });
    expect(await command('node set fffffff1 --name x --dry-run')).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('fffffff1'),
    });
    for (const line of ['node set ID1 --site south', 'node set ID1 ID2 --note x --yes', 'node set ID1 --name x --lifetime 9d'])
      expect(await command(line)).toMatchObject({ exitCode: 1, advice: expect.stringContaining('scope `nodes`') });
  });

  it('moves a controller, and is told that it did, and which manifests are still to be written', async () => {
    const command = await caller('read controllers');
    const unknown = await command('controller set 0000dead --nid 192.0.2.99:5683 --out DIR/moved');
    expect(unknown).toMatchObject({ exitCode: 1, message: expect.stringContaining('0000dead') });
    // As it was said there is room for another run.
    const moved = await command('controller set 00000001 --nid 192.0.2.99:5683 --out DIR/moved');
    expect(moved).toMatchObject({
      exitCode: 1,
      advice: expect.stringMatching(/^Nodes reach controller 00000001 at 192\.0\.2\.99:5683 from now on: that was done\./),
    });
    expect(moved.run?.[0]).toContain(`order export 1 --out ${join(folder, 'moved', 'order-1')}`);
    expect((await there('controller', 'list', '--csv', '--columns', 'nid')).stdout).toContain('192.0.2.99:5683');
    expect(await there('controller', 'set', '00000001', '--nid', '192.0.2.1:5683')).toMatchObject({ exitCode: 0 });
  });
});

it('nodes that share an initial key are reset by its fingerprint, here as there', async () => {
  const { order, key } = JSON.parse((await here('node', 'show', '000a0008', '--json')).stdout) as { order: number; key: string };
  const line = `node reset --order ${order} --holding ${key} --yes --out DIR/shared-by`;
  const [first, second] = await bothPlaces(line);
  // The manifests have other keys.
  expect({ ...second, files: [] }).toEqual({ ...first, files: [] });
  expect(first.stdout).toMatch(/^2 nodes join with initial keys of their own\n/);
  const lines = parseManifest(second.files?.[0]?.text ?? '', 'manifest.csv');
  expect(lines.map(({ idI }) => idI)).toEqual([0x000a_0008, 0x000a_0009]);
  const [again, againThere] = await bothPlaces(`${line}-again`);
  expect(againThere).toEqual(again);
  expect(again).toMatchObject({ exitCode: 2, message: `no node of order ${order} holds the initial key ${key} any more` });
});

it('an order through several controllers has its nodes at each, and labels and manifests by controller', async () => {
  const order = words('order create --installer Both --controller 00000002=2,00000001=1 --json');
  const out = join(folder, 'both');
  const created = JSON.parse((await there(...order, '--out', out)).stdout) as { order: number; controller: null; count: number };
  expect(created).toMatchObject({ controller: null, count: 3 });
  const controllers = async (path: string): Promise<number[]> =>
    parseManifest(await readFile(join(path, 'manifest.csv'), 'utf8'), 'manifest.csv').map(({ idC }) => idC);
  expect(await controllers(out)).toEqual([2, 2, 1]);
  const number = String(created.order);
  await there('order', 'export', number, '--out', `${out}-again`);
  expect(await controllers(`${out}-again`)).toEqual([1, 2, 2]);
  await there('order', 'labels', number, '--out', `${out}.html`);
  const labels = (await readFile(`${out}.html`, 'utf8')).matchAll(/<dt>Controller<\/dt><dd>(\w+)</g);
  expect([...labels].map(([, id]) => id)).toEqual(['00000001', '00000002', '00000002']);
  expect(JSON.parse((await there('order', 'show', number, '--json')).stdout)).toMatchObject({ controller: null, nodes: 3 });
});

it('what was written over the API holds the keys of that registry, and only its reader can open it', async () => {
  const out = join(folder, 'proof');
  const order = words('order create --installer Cy --controller 00000002 --count 2 --json');
  const { order: number } = JSON.parse((await there(...order, '--out', out)).stdout) as { order: number };
  const manifest = parseManifest(await readFile(join(out, 'manifest.csv'), 'utf8'), 'manifest.csv');
  const registry = await openRegistry(join(folder, 'there'));
  const held: boolean[] = [];
  for (const { idI, ik } of manifest) {
    const node = await registry.node(idI);
    held.push(node?.order === number && node.key.equals(ik));
  }
  await registry.close();
  expect(held).toEqual([true, true]);

  const { recipient, identity } = await generateRecipient();
  await there('order', 'export', String(number), '--out', `${out}-sealed`, '--recipient', recipient);
  const sealed = await readFile(join(`${out}-sealed`, 'manifest.csv.age'));
  const opened = await decryptManifest(sealed, 'manifest.csv.age', { identities: [identity] });
  expect(Buffer.from(opened).toString()).toBe(await readFile(join(out, 'manifest.csv'), 'utf8'));

  const credential = join(folder, 'proof.json');
  await there('controller', 'rotate', '00000002', '--out', credential);
  const { idC, skCs } = await readCredential(credential);
  const again = await openRegistry(join(folder, 'there'));
  expect([idC, (await again.controller(2))?.stagedSkCs?.equals(skCs)]).toEqual([2, true]);
  await again.close();
});
