// Proves how a password and a TLS key for the database are read: as every other secret.

import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { certify, HAS_OPENSSL } from '@latchkey/test-support/certificate';
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

it.skipIf(!HAS_OPENSSL)(
  'are refused where others can read them, with the command that puts it right (needs openssl)',
  async () => {
    const folder = await tempFolder();
    const passwordFile = join(folder, 'password');
    await writeFile(passwordFile, 'correct horse\n', { mode: 0o600 });
    const { cert, key, pem } = await certify(folder, 'client');
    // Everybody may read a certificate.
    await chmod(cert, 0o644);
    const of = { ...OF, passwordFile, tls: { ca: cert, cert, key } };
    expect(await readCredentials(of)).toEqual({
      password: 'correct horse',
      ssl: { ca: pem, cert: pem, key: await readFile(key, 'utf8') },
    });
    for (const path of [passwordFile, key]) {
      await chmod(path, 0o640);
      await expect(readCredentials(of)).rejects.toMatchObject({
        exitCode: 2,
        message: `${path} holds a secret and has mode 0640: others can read it`,
        advice: `Run: chmod 600 ${path}`,
      });
      await chmod(path, 0o600);
    }
  },
);

it.skipIf(!HAS_OPENSSL)('are refused where they are no certificates, or no pair (needs openssl)', async () => {
  const folder = await tempFolder();
  const [one, other] = [await certify(folder, 'one'), await certify(folder, 'other')];
  const nothing = join(folder, 'nothing.pem');
  await writeFile(nothing, 'a certificate', { mode: 0o600 });
  const read = (tls: NonNullable<PostgresConfig['tls']>): Promise<unknown> => readCredentials({ ...OF, tls });
  await expect(read({ ca: nothing })).rejects.toMatchObject({
    exitCode: 2,
    message: `${nothing}: expected certificates in PEM`,
  });
  const noPair = { exitCode: 2, message: expect.stringContaining('are not a certificate and its key in PEM') as string };
  for (const { cert, key } of [
    { cert: one.cert, key: other.key },
    { cert: nothing, key: one.key },
    { cert: one.cert, key: nothing },
  ])
    await expect(read({ ca: one.cert, cert, key })).rejects.toMatchObject(noPair);
});

it('are named where they are missing', async () => {
  const passwordFile = join(await tempFolder(), 'password');
  await expect(readCredentials({ ...OF, hosts: [{ host: '127.0.0.1', port: 5432 }], passwordFile })).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringContaining(passwordFile) as string,
  });
});
