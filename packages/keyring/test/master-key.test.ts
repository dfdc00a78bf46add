// Proves where a master key comes from, what is refused for one, and that none is ever told.

import { chmod, link, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import type { Failure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import {
  createMasterKey,
  findMasterKey,
  archiveMasterKey,
  masterKeyOptions,
  type MasterKeySource,
  readMasterKey,
  readOrCreateMasterKey,
} from '../src/master-key.js';
import type { Keyring } from '../src/keyring.js';
import { formerKeyNotice, nextMasterKey } from '../src/rotation.js';
import { newSecret, SealedStore } from '@latchkey/test-support/sealed-store';

const KEY = '00112233445566778899aabbccddeeff';

afterEach(() => {
  vi.unstubAllEnvs();
});

async function keyFile(text: string, mode: number = 0o600): Promise<MasterKeySource & { readonly path: string }> {
  const path = join(await tempFolder(), 'master.key');
  await writeFile(path, text);
  await chmod(path, mode);
  return { kind: 'file', path };
}

/** What a person is told, all of it. */
async function failureOf(source: MasterKeySource): Promise<Failure & { readonly words: string }> {
  const failure = (await readMasterKey(source).catch((error: unknown) => error)) as Failure;
  const words = [failure.name, failure.message, failure.advice, String(failure.cause), failure.stack].join(' ');
  return Object.assign(failure, { words });
}

describe('a master key is looked for', () => {
  it('where the options say, then as a credential of systemd, then beside the store', async () => {
    const folder = await tempFolder();
    const beside = { kind: 'file', path: join(folder, 'master.key') };
    expect(await findMasterKey({}, 'master-key', folder)).toEqual(beside);
    const credentials = await tempFolder();
    vi.stubEnv('CREDENTIALS_DIRECTORY', credentials);
    expect(await findMasterKey({}, 'master-key', folder)).toEqual(beside);
    await writeFile(join(credentials, 'master-key'), KEY);
    expect(await findMasterKey({}, 'master-key', folder)).toEqual({ kind: 'credential', path: join(credentials, 'master-key') });
    expect(await findMasterKey({}, 'another', folder)).toEqual(beside);
    expect(await findMasterKey({ masterKeyFile: '/k' }, 'master-key', folder)).toEqual({ kind: 'file', path: '/k' });
    expect(await findMasterKey({ masterKeyCommand: 'x' }, 'master-key', folder)).toEqual({ kind: 'command', command: 'x' });
  });

  it('as the command line or the environment says, and not in two places at once', () => {
    const parse = (...args: string[]): object =>
      masterKeyOptions(new Command('x').exitOverride().configureOutput({ writeErr: () => undefined }))
        .parse(args, { from: 'user' })
        .opts();
    expect(parse('--master-key-file', 'f')).toEqual({ masterKeyFile: 'f' });
    expect(parse('--master-key-command', 'c')).toEqual({ masterKeyCommand: 'c' });
    expect(() => parse('--master-key-file', 'f', '--master-key-command', 'c')).toThrow('cannot be used with');
    vi.stubEnv('LATCHKEY_MASTER_KEY_COMMAND', 'e');
    expect(parse()).toEqual({ masterKeyCommand: 'e' });
    expect(parse('--master-key-command', 'c')).toEqual({ masterKeyCommand: 'c' });
    expect(parse('--master-key-file', 'f')).toEqual({ masterKeyFile: 'f' });
    vi.stubEnv('LATCHKEY_MASTER_KEY_FILE', 'v');
    expect(parse('--master-key-command', 'c')).toEqual({ masterKeyCommand: 'c' });
    expect(() => parse()).toThrow('cannot be used with');
  });
});

describe('a file', () => {
  it.each([KEY, `${KEY}\n`, `${KEY.toUpperCase()}\n`])('is read: %j', async (text) => {
    expect((await readMasterKey(await keyFile(text))).toHex()).toBe(KEY);
  });

  it.each([0o640, 0o604, 0o644, 0o660, 0o666, 0o610])('is refused with mode %o', async (mode) => {
    const source = await keyFile(KEY, mode);
    const failure = await failureOf(source);
    expect(failure).toMatchObject({ name: 'UsageFailure', exitCode: 2, advice: `Run: chmod 600 ${source.path}` });
    expect(failure.words).not.toContain(KEY.slice(0, 8));
  });

  it('is refused where it is not there, with the options that name another', async () => {
    const path = join(await tempFolder(), 'master.key');
    expect(await failureOf({ kind: 'file', path })).toMatchObject({
      name: 'UsageFailure',
      message: `the master key ${path} is not there`,
      advice: expect.stringContaining('--master-key-file or --master-key-command') as string,
    });
  });

  it.each([
    ['', 'nothing'],
    [KEY.slice(1), 'a digit too few'],
    [`${KEY}0`, 'a digit too many'],
    [`${KEY.slice(0, 30)}gh`, 'other letters'],
    [`${KEY}\n${KEY}\n`, 'two keys'],
    [`0x${KEY}`, 'a prefix'],
    [`${KEY.slice(0, 16)} ${KEY.slice(16)}`, 'a gap'],
    [Buffer.from(KEY, 'hex').toString('base64'), 'Base64'],
    [Buffer.from(KEY, 'hex').toString('latin1'), 'octets'],
  ])('is refused with %j: %s', async (text) => {
    const source = await keyFile(text);
    const failure = await failureOf(source);
    expect(failure).toMatchObject({ name: 'UsageFailure', message: expect.stringContaining(source.path) as string });
    for (const part of [KEY.slice(0, 8), KEY.slice(-8), 'ABEiM0', 'AA==']) expect(failure.words).not.toContain(part);
  });

  it('is refused where it is a folder', async () => {
    const path = join(await tempFolder(), 'master.key');
    await mkdir(path);
    expect(await failureOf({ kind: 'file', path })).toMatchObject({ name: 'UsageFailure' });
  });

  it('is made where it is not there, once, with a new key, for its user alone', async () => {
    const source = { kind: 'file', path: join(await tempFolder(), 'master.key') } as const;
    const key = await readOrCreateMasterKey(source);
    expect(await readFile(source.path, 'utf8')).toBe(`${key.toHex()}\n`);
    expect((await stat(source.path)).mode & 0o777).toBe(0o600);
    expect((await readOrCreateMasterKey(source)).toHex()).toBe(key.toHex());
    await expect(createMasterKey(source.path)).rejects.toMatchObject({
      message: `cannot write ${source.path}: it exists already`,
    });
    expect((await createMasterKey(join(await tempFolder(), 'k'))).toHex()).not.toBe(key.toHex());
    const path = join(await tempFolder(), 'master.key');
    const drawn = await Promise.all(Array.from({ length: 4 }, () => readOrCreateMasterKey({ kind: 'file', path })));
    expect(new Set(drawn.map((one) => `${one.toHex()}\n`))).toEqual(new Set([await readFile(path, 'utf8')]));
  });
});

describe('a credential', () => {
  it('is read whatever mode systemd shows, and refused where it is no key', async () => {
    const { path } = await keyFile(KEY, 0o440);
    expect((await readMasterKey({ kind: 'credential', path })).toHex()).toBe(KEY);
    const bad = await keyFile(`${KEY}${KEY}`, 0o440);
    const failure = await failureOf({ kind: 'credential', path: bad.path });
    expect(failure).toMatchObject({ name: 'UsageFailure', message: expect.stringContaining(bad.path) as string });
    expect(failure.words).not.toContain(KEY.slice(0, 8));
  });
});

describe('a command', () => {
  const run = (command: string): MasterKeySource => ({ kind: 'command', command });

  it('prints the key', async () => {
    const { path } = await keyFile(KEY);
    expect((await readMasterKey(run(`cat '${path}' | tr a-f A-F`))).toHex()).toBe(KEY);
  });

  it.each([
    ['exit 3', 'the master key command ended with 3'],
    ['no-such-command 2>&-', 'the master key command ended with 127'],
    ['kill -TERM $$', 'the master key command ended with SIGTERM'],
  ])('that fails is named with what it ended with: %s', async (command, message) => {
    expect(await failureOf(run(command))).toMatchObject({
      name: 'Failure',
      message,
      advice: 'Run it by hand, to see what it prints.',
    });
  });

  it('that prints the key and fails does not have its output told', async () => {
    const { path } = await keyFile(KEY);
    const failure = await failureOf(run(`cat '${path}'; exit 1`));
    expect(failure.message).toBe('the master key command ended with 1');
    expect(failure.words).not.toContain(KEY.slice(0, 8));
  });

  it.each(['true', 'echo', 'echo no key', `printf '%s' ${KEY.slice(2)}`])(
    'that prints no key is refused: %s',
    async (command) => {
      const failure = await failureOf(run(command));
      expect(failure.name).toBe('UsageFailure');
      expect(failure.words).not.toContain(KEY.slice(2, 10));
    },
  );

  // Node.js says `killed` for output that is too long, as for time that is over.
  it('that prints too much is refused, and not for the time it took', async () => {
    const failure = await failureOf(run('yes 00112233445566778899aabbccddeeff | head -n 1000'));
    expect(failure.name).toBe('Failure');
    expect(failure.words).not.toContain(KEY.slice(0, 8));
    expect(failure.message).not.toContain('did not end');
  });

  it('that does not end is ended after 30 s, and what is waited for is said before', async () => {
    const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    onTestFinished(() => said.mockRestore());
    expect(await failureOf(run('sleep 90; true'))).toMatchObject({
      name: 'Failure',
      message: 'the master key command did not end within 30 s',
    });
    expect(said.mock.calls.map(([text]) => text)).toEqual(['waiting for the master key command, 30 s at most\n']);
  });
});

describe('the next master key', () => {
  let keyring: Keyring;
  beforeEach(async () => {
    ({ keyring } = await SealedStore.create(newSecret()));
  });

  it('is drawn beside the one in use, found there again, and takes its place in the end, where that one is kept', async () => {
    const source = await keyFile(`${KEY}\n`);
    const next = await nextMasterKey(source, undefined, keyring);
    const former = next.archivedPath ?? '';
    expect(next.path).toBe(`${source.path}.next`);
    expect(next.key.toHex()).not.toBe(KEY);
    expect((await nextMasterKey(source, undefined, keyring)).key.toHex()).toBe(next.key.toHex());
    await next.install();
    expect((await readMasterKey(source)).toHex()).toBe(next.key.toHex());
    expect((await stat(source.path)).mode & 0o777).toBe(0o600);
    expect(former).toMatch(/\/master\.key\.before-[0-9-]+T[0-9.]+Z$/);
    expect(await readdir(join(source.path, '..'))).toEqual(['master.key', basename(former)]);
    expect((await readMasterKey({ kind: 'file', path: former })).toHex()).toBe(KEY);
    expect((await stat(former)).mode & 0o777).toBe(0o600);
    expect(formerKeyNotice(next, 'Backups')).toContain(former);
  });

  it('has the one before it kept under one name, wherever the command was killed', async () => {
    const source = await keyFile(`${KEY}\n`);
    const { key, archivedPath = '', path } = await nextMasterKey(source, undefined, keyring);
    // A file that has its name just now has the one that it was written under, too.
    const named = (at: string): Promise<void> => link(at, join(at, '..', `.${basename(at)}.0123abcd`));
    await named(path);
    // Kept, and then killed.
    await archiveMasterKey(Secret.fromHex(KEY), archivedPath);
    await named(archivedPath);
    const again = await nextMasterKey(source, undefined, keyring);
    expect(again.archivedPath).toBe(archivedPath);
    await again.install();
    // In its place, and then killed.
    keyring.beginRotation(key);
    const third = await nextMasterKey(source, undefined, keyring);
    expect(third).toMatchObject({ path: source.path, archivedPath });
    await third.install();
    expect(await readdir(join(path, '..'))).toEqual(['master.key', basename(archivedPath)]);
    expect((await readMasterKey({ kind: 'file', path: archivedPath })).toHex()).toBe(KEY);
  });

  it('does not take the place of one that could not be kept', async () => {
    const source = await keyFile(`${KEY}\n`);
    const next = await nextMasterKey(source, undefined, keyring);
    await writeFile(next.archivedPath ?? '', newSecret().toHex(), { mode: 0o600 });
    await expect(next.install()).rejects.toMatchObject({
      name: 'Failure',
      message: expect.stringContaining('it exists already') as string,
    });
    expect((await readMasterKey(source)).toHex()).toBe(KEY);
  });

  it('is the one in a file of its own, which stays there', async () => {
    const [source, to] = [await keyFile(`${KEY}\n`), await keyFile(newSecret().toHex())];
    const next = await nextMasterKey(source, to.path, keyring);
    await next.install();
    expect(next.archivedPath).toBeUndefined();
    expect(formerKeyNotice(next, 'Backups')).toBe(
      'Backups made before need the one before: keep it as long as them, and destroy it with them.',
    );
    expect((await readMasterKey(to)).toHex()).toBe(next.key.toHex());
    expect((await readMasterKey(source)).toHex()).toBe(KEY);
  });

  it('needs a file named where the one in use comes from elsewhere', async () => {
    for (const kind of ['credential', 'command'] as const) {
      await expect(nextMasterKey({ kind, path: '/x', command: 'x' }, undefined, keyring)).rejects.toMatchObject({
        name: 'UsageFailure',
        advice: expect.stringContaining('--to FILE') as string,
      });
    }
    const to = join(await tempFolder(), 'new.key');
    const next = await nextMasterKey({ kind: 'command', command: 'false' }, to, keyring);
    expect((await readMasterKey({ kind: 'file', path: to })).toHex()).toBe(next.key.toHex());
  });
});
