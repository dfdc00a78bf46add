// Proves that a registry in PostgreSQL is named in a URL or in YAML to the same effect, and that no
// password gets into either.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '@latchkey/runtime/config';
import { afterAll, describe, expect, it } from 'vitest';
import { masterKeyCommand } from '../src/commands/master-key.js';
import { configSchema } from '../src/config.js';
import { parsePostgresUrl } from '../src/postgres-config.js';
import { isPostgresUrl } from '../src/postgres-url.js';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-postgres-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const parse = (url: string): unknown => parsePostgresUrl(url, '--data');

function load(yaml: string): Promise<unknown> {
  const path = join(folder, 'auth-server.yaml');
  writeFileSync(path, yaml);
  return loadConfig(configSchema, path).then(({ registry }) => registry?.postgres);
}

const CLUSTER = {
  hosts: [
    { host: 'db1', port: 5432 },
    { host: '2001:db8::2', port: 6432 },
  ],
  database: 'latchkey',
  user: 'latchkey',
  durability: 'standby',
  passwordFile: '/etc/latchkey/postgres-password',
  tls: { ca: '/etc/latchkey/ca.pem' },
};

describe('a URL', () => {
  it('is told from a folder', () => {
    expect(['postgres://a@b/c', 'postgresql://a@b/c', './postgres', '/var/lib/postgres:'].map(isPostgresUrl)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it('names what YAML names', async () => {
    expect(
      parse(
        'postgres://latchkey@db1,[2001:db8::2]:6432/latchkey?password_file=/etc/latchkey/postgres-password&ca=%2Fetc/latchkey/ca.pem',
      ),
    ).toEqual(CLUSTER);
    expect(
      await load(`registry:
  postgres:
    hosts: [db1, "[2001:db8::2]:6432"]
    database: latchkey
    user: latchkey
    password_file: /etc/latchkey/postgres-password
    tls: { ca: /etc/latchkey/ca.pem }
`),
    ).toEqual(CLUSTER);
  });

  it('needs no TLS on loopback and unix sockets', () => {
    expect(parse('postgresql://me@%2Frun%2Fpostgresql,localhost:1/a%20b?durability=storage')).toEqual({
      hosts: [
        { socketFolder: '/run/postgresql', port: 5432 },
        { host: 'localhost', port: 1 },
      ],
      database: 'a b',
      user: 'me',
      durability: 'storage',
    });
  });

  it.each([
    ['postgres://latchkey@db1/latchkey', 'the connection to db1 is not encrypted'],
    ['postgres://db1/latchkey?ca=/ca', 'user: expected text, and it is empty'],
    ['postgres://me@localhost/', 'database: expected text, and it is empty'],
    ['postgres://me@localhost', 'expected postgres://USER@HOST:PORT,HOST:PORT/DATABASE'],
    ['postgres://me@localhost:99999/a', 'hosts.0: expected HOST, HOST:PORT or'],
    ['postgres://me@localhost/a?sslmode=disable', 'unknown setting sslmode: expected one of password_file, ca, '],
    ['postgres://me@localhost/a?ca=/ca&cert=/cert', 'tls: expected both cert and key, or neither'],
    ['postgres://me@localhost/a?password_file=secret', 'password_file: expected an absolute path'],
    ['postgres://me@localhost/a?durability=hope', 'durability: expected one of standby, storage'],
  ])('%s is refused: %s', (url, problem) => {
    expect(() => parse(url)).toThrow(problem);
  });

  it.each(['postgres://me:hunter2@db1/a', 'postgres://me@db1/a?password=hunter2', 'postgresql://me:hunter2@db1,db2/a?ca=/ca'])(
    'with a password is refused, and not repeated: %s',
    (url) => {
      const attempt = (): unknown => parse(url);
      expect(attempt).toThrow('--data: there is a password in the URL');
      expect(attempt).not.toThrow('hunter2');
    },
  );
});

describe('YAML', () => {
  const yaml = (more: string): string => `registry:
  postgres:
    hosts: [localhost]
    database: latchkey
    user: latchkey
${more}`;

  it('takes no password', async () => {
    const attempt = load(yaml('    password: hunter2\n'));
    await expect(attempt).rejects.toThrow('auth-server.yaml, line 6: registry.postgres.password: no password is taken here');
    await expect(attempt).rejects.not.toThrow('hunter2');
  });

  it.each([
    ['    tls: { cert: /cert }\n', 'line 6: registry.postgres.tls.ca: expected an absolute path, and it is missing'],
    ['    port: 5432\n', 'line 6: unknown key registry.postgres.port: expected one of hosts, database, user, '],
    ['  lmdb: {}\n', 'unknown key registry.lmdb: expected postgres'],
  ])('%j is refused: %s', async (more, problem) => {
    await expect(load(yaml(more))).rejects.toThrow(problem);
  });
});

it('the master key of a registry in a database is not rotated: other servers would not learn of it', async () => {
  const options = ['--data', 'postgres://me@localhost/a', '--local-data', join(folder, 'state')];
  await expect(masterKeyCommand().parseAsync(['rotate', ...options], { from: 'user' })).rejects.toMatchObject({
    name: 'UsageFailure',
    message: 'the master key of a registry in a database cannot be rotated by this version',
  });
});
