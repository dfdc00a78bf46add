/** Certificates that openssl makes. */

import { spawnSync } from 'node:child_process';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';

export const HAS_OPENSSL: boolean = spawnSync('openssl', ['version']).status === 0;

/** A key and a certificate for plant.example, and perhaps an address, in a folder. */
export async function certify(
  folder: string,
  name: string,
  address?: string,
): Promise<{ readonly cert: string; readonly key: string; readonly pem: string }> {
  const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const subject = [
    '-subj',
    `/CN=${name}`,
    '-addext',
    `subjectAltName=DNS:plant.example${address === undefined ? '' : `,IP:${address}`}`,
    '-days',
    '30',
  ];
  const made = spawnSync('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...subject]);
  expect([made.status, String(made.stderr)]).toEqual([0, expect.any(String)]);
  await chmod(key, 0o600);
  return { cert, key, pem: await readFile(cert, 'utf8') };
}
