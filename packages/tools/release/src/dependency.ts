/**
 * Packages of others that end up in an artefact: where they lie, what they are called, under which
 * licence.
 */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Failure } from '@latchkey/runtime/failure';
import { parse } from 'yaml';
import { z } from 'zod';
import { ROOT } from './product.js';
import { runTool } from './run-tool.js';

export interface Dependency {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
  /** SPDX expression. */
  readonly license: string;
}

const packageSchema = z.object({
  name: z.string(),
  version: z.string(),
  license: z.string().optional(),
});
const lockSchema = z.object({ packages: z.record(z.string(), z.object({ resolution: z.object({ integrity: z.string() }) })) });

/** The package that lies in `folder`. */
export function dependencyIn(folder: string): Dependency {
  const path = join(folder, 'package.json');
  const { name, version, license } = packageSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  if (license === undefined) throw new Failure(`${name} ${version} does not say its licence`, { advice: `Look into ${path}.` });
  return { name, version, folder, license };
}

/**
 * The patch it is installed with, from the project's root; `undefined`: it is as it was published.
 */
export function patchOf({ name, version }: Pick<Dependency, 'name' | 'version'>): string | undefined {
  const path = join('patches', `${name.replace('/', '__')}@${version}.patch`);
  return existsSync(join(ROOT, path)) ? path : undefined;
}

/** The package that the file is of; `undefined` for one of this project. */
export function dependencyOf(file: string): Dependency | undefined {
  const [, inside] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file) ?? [];
  return inside === undefined ? undefined : dependencyIn(inside);
}

/**
 * The package `name` as seen from `folder`, a real path; `undefined` where it is not installed, as
 * one for another processor.
 */
export async function resolveFrom(folder: string, name: string): Promise<Dependency | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    const candidate = join(at, 'node_modules', name);
    if (existsSync(candidate)) return dependencyIn(await realpath(candidate));
    if (dirname(at) === at) return undefined;
  }
}

/** `LICENSE`, `NOTICE` and the like, as they lie in the package. */
export function licenseFiles({ folder }: Dependency): string[] {
  return readdirSync(folder)
    .filter((file) => /^(?:licen[cs]e|copying|notice)(?:[.-]|$)/i.test(file))
    .toSorted();
}

/** sha512 of the package as it was published: `sha512-BASE64`. */
export async function integrityOf({ name, version }: Pick<Dependency, 'name' | 'version'>): Promise<string> {
  lock ??= readFile(join(ROOT, 'pnpm-lock.yaml'), 'utf8').then((text) => lockSchema.parse(parse(text)));
  const integrity = (await lock).packages[`${name}@${version}`]?.resolution.integrity;
  if (integrity === undefined) throw new Failure(`${name} ${version} is not in pnpm-lock.yaml`, { advice: 'Run: pnpm install' });
  return integrity;
}

let lock: Promise<z.output<typeof lockSchema>> | undefined;

/**
 * A package for another processor, which is not installed here: fetched by npm once, and compared
 * with the lockfile.
 */
export function fetchPinned(name: string, version: string): Promise<Dependency> {
  const id = `${name}@${version}`;
  const pending = fetched.get(id) ?? fetchPackage(name, version);
  fetched.set(id, pending);
  return pending;
}

const fetched = new Map<string, Promise<Dependency>>();

async function fetchPackage(name: string, version: string): Promise<Dependency> {
  const expected = await integrityOf({ name, version });
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-foreign-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  await runTool('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder, `${name}@${version}`], {
    purpose: `fetch ${name}, which is built for another processor`,
    advice: 'Is the network there? --arch names the processors to build for.',
  });
  const [file] = readdirSync(folder);
  if (file === undefined) throw new Failure(`npm fetched nothing for ${name}@${version}`);
  const octets = await readFile(join(folder, file));
  const found = `sha512-${createHash('sha512').update(octets).digest('base64')}`;
  if (found !== expected) throw new Failure(`${name}@${version} is not what pnpm-lock.yaml has`, { advice: 'Do not use it.' });
  await runTool('tar', ['-xzf', join(folder, file), '-C', folder], { purpose: `unpack ${name}` });
  return dependencyIn(join(folder, 'package'));
}
