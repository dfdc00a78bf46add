// Proves that a configuration that is wrong is refused with its file, line, field and expectation.

import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadConfig, loadPrivateJson } from '../src/config/config.js';
import { listenSchema } from '../src/net/endpoint.js';
import type { UsageFailure } from '../src/failure.js';
import { LOG_LEVELS } from '../src/daemon/log.js';
import { tempFolder } from '@latchkey/test-support/fixtures';

const schema = z.strictObject({
  listen: z.array(listenSchema).min(1).prefault(['[::]:5683']),
  log_level: z.enum(LOG_LEVELS).default('info'),
  bounds: z.strictObject({ transactions: z.int().min(8).max(1_000).default(100) }).prefault({}),
  wait: z
    .string()
    .refine((text) => /^\d+s$/.test(text), { error: 'expected a duration, e.g. 30s' })
    .optional(),
  roles: z.record(z.string(), z.string()).optional(),
  password_file: z.enum(['/a', '/b']).optional(),
  reload: z.array(z.string()).optional(),
  colour: z.enum(['red', 'blue']).optional(),
});

async function fileWith(text: string): Promise<string> {
  const path = join(await tempFolder(), 'config.yaml');
  await writeFile(path, text);
  return path;
}

describe('a configuration', () => {
  it.each(['', '# nothing\n', '---\n', '{}\n'])('of %j is all defaults, as without a file', async (text) => {
    const defaults = { listen: [{ host: '::', port: 5683 }], log_level: 'info', bounds: { transactions: 100 } };
    expect(await loadConfig(schema, await fileWith(text))).toEqual(defaults);
    expect(await loadConfig(schema, undefined)).toEqual(defaults);
  });

  it('is read', async () => {
    const path = await fileWith('log_level: debug\nlisten:\n  - 192.0.2.7:5683\n  - "[::1]:0"\nbounds: { transactions: 8 }\n');
    expect(await loadConfig(schema, path)).toEqual({
      log_level: 'debug',
      listen: [
        { host: '192.0.2.7', port: 5683 },
        { host: '::1', port: 0 },
      ],
      bounds: { transactions: 8 },
    });
  });

  it.each([
    [
      'an unknown key',
      'log_level: info\nlog-level: debug\n',
      ', line 2: unknown key log-level: expected one of listen, log_level, bounds,',
    ],
    ['an unknown key with no value', '\n\nfoo:\n', ', line 3: unknown key foo'],
    [
      'an unknown key below',
      'bounds:\n  transactions: 9\n  total: 9\n',
      ', line 3: unknown key bounds.total: expected transactions',
    ],
    [
      'a word that is none of those allowed',
      'log_level: loud\n',
      ', line 1: log_level: expected one of error, warn, info, debug, not "loud"',
    ],
    ['a text for a number', 'bounds:\n  transactions: many\n', ', line 2: bounds.transactions: expected a number, not "many"'],
    ['a fraction', 'bounds:\n  transactions: 8.5\n', ', line 2: bounds.transactions: expected a whole number, not 8.5'],
    ['a number too small', 'bounds:\n  transactions: 7\n', ', line 2: bounds.transactions: expected 8 or more, not 7'],
    [
      'a number for a text',
      'listen:\n  - "[::]:1"\n  - 5683\n',
      ', line 3: listen.1: expected HOST:PORT, e.g. 0.0.0.0:5683 or [::]:5683, not 5683\n',
    ],
    ['no list', 'listen: 127.0.0.1:5683\n', ', line 1: listen: expected a list, not "127.0.0.1:5683"\n'],
    ['nothing for a list', 'listen:\n', ', line 1: listen: expected a list, and it has no value\n'],
    ['an empty list', 'log_level: info\nlisten: []\n', ', line 2: listen: expected a list of 1 or more\n'],
    [
      'no address',
      'listen:\n  - somewhere\n',
      ', line 2: listen.0: expected HOST:PORT, e.g. 0.0.0.0:5683 or [::]:5683, not "somewhere"\n',
    ],
    ['a list at the top', '- a\n- b\n', ', line 1: expected names with values, not a list\n'],
    ['a text at the top', 'hello\n', ', line 1: expected names with values, not "hello"\n'],
    [
      'a number far too large',
      'bounds: { transactions: 1e30 }\n',
      ', line 1: bounds.transactions: expected 1000 at most, not 1e+30\n',
    ],
    ['a number for a duration', 'wait: 30\n', ', line 1: wait: expected a duration, e.g. 30s, not 30\n'],
    ['a list for a duration', 'wait: [30s]\n', ', line 1: wait: expected a duration, e.g. 30s, not a list\n'],
    ['a text for names with values', 'roles: admin\n', ', line 1: roles: expected names with values, not "admin"\n'],
  ])('with %s is refused', async (_, text, message) => {
    const path = await fileWith(text);
    const refused = await loadConfig(schema, path).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure', exitCode: 2 });
    expect(`${(refused as Error).message}\n`).toContain(path + message);
    expect((refused as UsageFailure).advice).toBe('Nothing was done. Correct the file, and run the command again.');
  });

  it.each([
    ['a key in hex', 'colour: 00112233445566778899aabbccddeeff', '0011'],
    ['a key in base64', 'colour: /AARIjNEVWZ3iJmqu8zd7g==', 'AARI'],
    ['a path with a key in it', 'colour: /etc/00112233445566778899aabbccddeeff', '0011'],
    ['a token', 'colour: lk_abcdefghij234567abcdefghij', 'abcdef'],
    ['a URL with a password', 'colour: https://ada:red2@plant.example/', 'red2'],
    ['a number that may be a key', 'colour: 12345678901234567', '123456'],
    ['a passphrase in place of its file', 'password_file: correct horse', 'horse'],
    ['a number in place of such a file', 'password_file: 4711', '4711'],
    ['a command line', 'reload: reload --password horse', 'horse'],
    ['a list of them', 'password_file: [correct, horse]', 'horse'],
    ['a secret that ends a line of YAML', 'colour: "red"\n}correct horse\n', 'horse'],
  ])('is refused without %s', async (_, text, secret) => {
    const path = await fileWith(`${text}\n`);
    const refused = await loadConfig(schema, path).catch((error: unknown) => error);
    const { message, advice } = refused as UsageFailure;
    expect(message).toMatch(/line \d(?:: (?:colour|password_file|reload): expected|, column \d+: not YAML)/);
    expect(message + advice).not.toContain(secret);
  });

  it.each([
    ['a word', 'colour: green', ', not "green"'],
    ['a word with a digit', 'colour: red2', ', not "red2"'],
    ['a sentence', 'colour: neither red nor blue', ', not "neither red nor blue"'],
    ['a path', 'colour: /var/lib/latchkey/auth-server2/master', ', not "/var/lib/latchkey/auth-server2/master"'],
    ['an address', 'colour: "[2001:db8::7]:5683"', ', not "[2001:db8::7]:5683"'],
    ['nothing in quotes', "colour: ''", ', not ""'],
    ['a truth', 'colour: true', ', not true'],
    ['a date, which is text', 'colour: 2026-12-24', ', not "2026-12-24"'],
  ])('is refused with %s as it stands there', async (_, text, says) => {
    const { message } = (await loadConfig(schema, await fileWith(`${text}\n`)).catch((error: unknown) => error)) as Error;
    expect(message).toContain(`colour: expected one of red, blue${says}`);
  });

  it('with several mistakes is refused with all of them', async () => {
    const path = await fileWith('foo: 1\nlog_level: loud\nbounds:\n  bar: 2\n  transactions: 1\n');
    const { message } = (await loadConfig(schema, path).catch((error: unknown) => error)) as Error;
    expect(message.split('\n')).toEqual([
      expect.stringContaining(`${path}, line 1: unknown key foo`),
      expect.stringContaining(`${path}, line 2: log_level: `),
      expect.stringContaining(`${path}, line 4: unknown key bounds.bar`),
      expect.stringContaining(`${path}, line 5: bounds.transactions: `),
    ]);
  });

  it.each([
    ['a tab', 'bounds:\n\ttransactions: 9\n', 2],
    ['a list left open', 'listen: [\n', 2],
    ['a key twice', 'log_level: info\nlog_level: info\n', 2],
    ['a quote left open', 'log_level: "info\n', 2],
  ])('that is not YAML (%s) is refused with line and column', async (_, text, line) => {
    const path = await fileWith(text);
    const refused = await loadConfig(schema, path).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure' });
    expect((refused as Error).message).toMatch(new RegExp(String.raw`^${path}, line ${line}, column \d+: not YAML: `));
  });

  it('of two documents is refused with line and column, and what to do', async () => {
    const path = await fileWith('log_level: info\n---\nlog_level: info\n');
    await expect(loadConfig(schema, path)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${path}, line 2, column 1: a second document begins, and one is expected`,
      advice: 'Put all of it into one, without `---` between.',
    });
  });

  it.each([
    ['an alias of nothing', 'listen: *nobody\n'],
    [
      'aliases that multiply',
      `a: &a [${'x,'.repeat(20)}]\nb: &b [${'*a,'.repeat(20)}]\nc: &c [${'*b,'.repeat(20)}]\nd: [${'*c,'.repeat(20)}]\n`,
    ],
  ])('with %s is refused in words, not as a mistake of the program', async (_, text) => {
    const path = await fileWith(text);
    const refused = await loadConfig(schema, path).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure' });
    expect((refused as Error).message).toContain(path);
  });

  it('that is not there is refused by name', async () => {
    const path = join(await tempFolder(), 'none.yaml');
    await expect(loadConfig(schema, path)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `cannot read ${path}: no such file or folder`,
    });
  });
});

describe('a private JSON file', () => {
  const KEY = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';

  async function privateFile(text: string): Promise<string> {
    const path = await fileWith(text);
    await chmod(path, 0o600);
    return path;
  }

  it('is read by its schema', async () => {
    const path = await privateFile('{"log_level":"warn"}');
    expect(await loadPrivateJson(schema, path, 'advice')).toMatchObject({ log_level: 'warn' });
  });

  it('is refused with all its problems by field, and no value', async () => {
    const path = await privateFile(JSON.stringify({ log_level: KEY, bounds: { transactions: KEY }, extra: KEY }));
    const refused = await loadPrivateJson(schema, path, 'advice').catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure', exitCode: 2 });
    const { message, stack } = refused as Error;
    for (const part of [`${path}: `, 'log_level: ', 'bounds.transactions: ', 'unknown key extra'])
      expect(message).toContain(part);
    expect(stack).not.toContain(KEY.slice(0, 6));
  });

  it('that is not JSON is refused with advice, and without a word of what it holds', async () => {
    const path = await privateFile(`{"key":${KEY}}`);
    const refused = await loadPrivateJson(schema, path, 'Do this.').catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure', message: `${path}: not JSON`, advice: 'Do this.', cause: undefined });
    expect((refused as Error).stack).not.toContain(KEY.slice(0, 6));
  });

  it('is refused where others can read it', async () => {
    const path = await privateFile('{}');
    await chmod(path, 0o604);
    await expect(loadPrivateJson(schema, path, 'advice')).rejects.toMatchObject({ advice: `Run: chmod 600 ${path}` });
  });
});
