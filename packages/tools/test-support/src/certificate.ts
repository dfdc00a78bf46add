/** Certificates that openssl makes. */

import { spawnSync } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';

export const HAS_OPENSSL: boolean = spawnSync('openssl', ['version']).status === 0;

/** Paths of a certificate and its key, and the certificate. */
export interface Certified {
  readonly cert: string;
  readonly key: string;
  readonly pem: string;
}

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A key and a certificate for plant.example, and perhaps an address, in a folder. */
export async function certify(folder: string, name: string, address?: string): Promise<Certified> {
  const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const subject = [
    '-subj',
    `/CN=${name}`,
    '-addext',
    `subjectAltName=DNS:plant.example${address === undefined ? '' : `,IP:${address}`}`,
    '-days',
    '30',
  ];
  const made = spawnSync('openssl', ['req', '-x509', ...CURVE, '-keyout', key, '-out', cert, ...subject]);
  expect([made.status, String(made.stderr)]).toEqual([0, expect.any(String)]);
  await chmod(key, 0o600);
  return { cert, key, pem: await readFile(cert, 'utf8') };
}

/**
 * A key, and a certificate of an authority that `certify` made.
 *
 * @param usage its extendedKeyUsage, `clientAuth` say; without it the certificate does not say
 */
export async function issue(folder: string, name: string, authority: Certified, usage?: string): Promise<Certified> {
  const [cert, key, request, extensions] = ['crt', 'key', 'csr', 'ext'].map((kind) => join(folder, `${name}.${kind}`)) as [
    string,
    string,
    string,
    string,
  ];
  await writeFile(extensions, `basicConstraints=CA:FALSE\n${usage === undefined ? '' : `extendedKeyUsage=${usage}\n`}`);
  const by = ['-CA', authority.cert, '-CAkey', authority.key, '-CAcreateserial', '-extfile', extensions, '-days', '30'];
  for (const words of [
    ['req', ...CURVE, '-keyout', key, '-out', request, '-subj', `/CN=${name}`],
    ['x509', '-req', '-in', request, ...by, '-out', cert],
  ]) {
    const made = spawnSync('openssl', words);
    expect([made.status, String(made.stderr)]).toEqual([0, expect.any(String)]);
  }
  await chmod(key, 0o600);
  return { cert, key, pem: await readFile(cert, 'utf8') };
}
