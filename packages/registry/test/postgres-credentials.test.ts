// Proves how a password and a TLS key for the database are read: as every other secret.

import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { expect, it } from 'vitest';
import type { PostgresConfig } from '../src/postgres/config.js';
import { readCredentials } from '../src/postgres/connection.js';

const OF: PostgresConfig = {
  hosts: [{ host: 'db1', port: 5432 }],
  database: 'latchkey',
  user: 'latchkey',
  durability: 'standby',
};

it('are refused where others can read them, with the command that puts it right', async () => {
  const folder = await tempFolder();
  const [ca, key, passwordFile] = ['ca.pem', 'tls.key', 'password'].map((name) => join(folder, name)) as [string, string, string];
  // Everybody may read the certificate of an authority.
  await writeFile(ca, 'a certificate', { mode: 0o644 });
  await writeFile(passwordFile, 'correct horse\n', { mode: 0o600 });
  await writeFile(key, 'a key', { mode: 0o600 });
  const of = { ...OF, passwordFile, tls: { ca, key } };
  expect(await readCredentials(of)).toEqual({ password: 'correct horse', ssl: { ca: 'a certificate', key: 'a key' } });
  for (const path of [passwordFile, key]) {
    await chmod(path, 0o640);
    await expect(readCredentials(of)).rejects.toMatchObject({
      exitCode: 2,
      message: `${path} holds a secret and has mode 0640: others can read it`,
      advice: `Run: chmod 600 ${path}`,
    });
    await chmod(path, 0o600);
  }
});

it('are named where they are missing', async () => {
  const passwordFile = join(await tempFolder(), 'password');
  await expect(readCredentials({ ...OF, hosts: [{ host: '127.0.0.1', port: 5432 }], passwordFile })).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringContaining(passwordFile) as string,
  });
});
