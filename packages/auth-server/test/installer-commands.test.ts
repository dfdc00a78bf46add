// Installers and their recipients by commands: those of docs/OPERATIONS.md as they stand there, and
// what a restore leaves.

import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decryptManifest, generateRecipient, parseManifest } from '@latchkey/provisioning';
import { parseCommandLine } from '@latchkey/runtime/cli';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { authServerProgram } from '../src/program.js';

process.umask(0o077);

let folder: string;
let data: string;

/** Returns what a command writes to standard output. */
async function run(...words: string[]): Promise<string> {
  const program = await authServerProgram(words[0]);
  let text = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((piece) => {
    text += String(piece);
    return true;
  });
  try {
    await program.parseAsync(words, { from: 'user' });
  } finally {
    write.mockRestore();
  }
  return text;
}

const ORDER = ['order', 'create', '--installer', 'Kim', '--controller', '00000001', '--count', '1'];

/** On the registry of the test. */
const here = (...words: string[]): Promise<string> => run(...words, '--data', data);

interface AuditEntry {
  readonly what: string;
  readonly note?: string;
}

async function recipientChanges(): Promise<string[]> {
  const entries = JSON.parse(await here('audit', 'list', '--json', '--limit', '100')) as AuditEntry[];
  return entries.flatMap(({ what, note }) => (what === 'installer recipients changed' ? [note ?? ''] : []));
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-test-'));
  data = join(folder, 'data');
  await here('init');
  await here('controller', 'add', '00000001', '--nid', '192.0.2.1:5683', '--out', join(folder, 'controller.json'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** The commands of a section of docs/OPERATIONS.md, without what is said about them. */
async function commandsOf(title: string): Promise<string[]> {
  const text = await readFile(new URL('../../../docs/OPERATIONS.md', import.meta.url), 'utf8');
  const section = text.slice(text.indexOf(`### ${title}\n`)).split(/^##/m)[1] ?? '';
  return [...section.matchAll(/^ {4}(latchkey-auth-server .*?)(?: {2,}#.*)?$/gm)].map(([, command = '']) => command);
}

it('docs/OPERATIONS.md, "Keys for an installer": each command does what the text says', async () => {
  const keys = await generateRecipient();
  const commands = await commandsOf('Keys for an installer');
  expect(commands.length).toBe(7);
  const said: string[] = [];
  for (const command of commands) {
    const [, ...words] = parseCommandLine(command.replaceAll('"', "'"));
    const placed = words.map((word, i) =>
      words[i - 1] === '--out' ? join(folder, word) : word === 'DIR' ? data : word === 'age1...' ? keys.recipient : word,
    );
    said.push(await run(...placed));
  }
  expect(said[0]).toBe('Installer Kim & Sons is added, with 1 recipient\n');
  expect(said[1]).toContain(`\n${keys.recipient}\n`);
  for (const text of said.slice(2, 5)) expect(text).toContain(`\nEncrypted to Kim & Sons: ${keys.recipient.slice(0, 28)}\n`);
  for (const name of ['for-kim', 'for-kim-again', 'for-kim-reset']) {
    expect(existsSync(join(folder, name, 'manifest.csv'))).toBe(false);
    const sealed = await readFile(join(folder, name, 'manifest.csv.age'));
    const opened = await decryptManifest(sealed, name, { identities: [keys.identity] });
    expect(parseManifest(Buffer.from(opened).toString(), name).length).toBe(3);
  }
  const [id = ''] = /[0-9a-f]{16}/.exec(said[1] ?? '') ?? [];
  expect((await recipientChanges()).toSorted()).toEqual([
    `installer ${id}: keys for ${keys.recipient.slice(0, 28)}`,
    `installer ${id}: no keys for ${keys.recipient.slice(0, 28)}`,
  ]);
});

it('a restore brings back no recipient that was withdrawn, and no installer that was removed', async () => {
  const { recipient } = await generateRecipient();
  for (const name of ['Kim', 'Bo']) await here('installer', 'add', name, '--recipient', recipient);
  const backup = join(folder, 'backup');
  await here('backup', backup);
  await here('installer', 'set', 'Kim', '--no-recipients');
  await here('installer', 'remove', 'Bo', '--yes');
  await here('restore', backup, '--replace', '--yes');
  expect(JSON.parse(await here('installer', 'list', '--json'))).toMatchObject([{ name: 'Kim', recipients: [] }]);
  await expect(here(...ORDER, '--to-installer', 'Kim', '--out', join(folder, 'for-kim'))).rejects.toThrow(
    'no recipient is stored for installer Kim',
  );
  // Nothing was ordered.
  expect(JSON.parse(await here('order', 'list', '--json'))).toEqual([]);
});

it('--to-installer without --out is refused', async () => {
  await expect(here('node', 'reset', '00000001', '--to-installer', 'Kim', '--yes')).rejects.toThrow(
    '--to-installer is of --out, which is missing',
  );
});
