/** A later version of Latchkey: a copy of this one with another number and a later schema. */

import { cp, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CHECKOUT = fileURLToPath(new URL('../../../../../', import.meta.url));
const COPIED = new Set(['dist', 'node_modules', 'package.json']);

/**
 * @param steps of the schema that this version has not: each alters a table that joins read and
 *   write
 * @param folder is made
 * @returns the folder of its packages
 */
export async function makeLaterVersion(folder: string, steps: number): Promise<string> {
  const packages = join(folder, 'packages');
  for (const name of await readdir(join(CHECKOUT, 'packages'))) {
    if (name === 'tools') continue;
    const from = join(CHECKOUT, 'packages', name);
    const isCopied = (path: string): boolean => path === from || COPIED.has(path.slice(from.length + 1).split('/')[0] ?? '');
    // Packages lead to each other by relative links.
    await cp(from, join(packages, name), { recursive: true, verbatimSymlinks: true, filter: isCopied });
  }
  await symlink(join(CHECKOUT, 'node_modules'), join(folder, 'node_modules'));
  await change(join(packages, 'auth-server/package.json'), /"version": "[^"]+"/, `"version": "${laterVersion(steps)}"`);
  const added = Array.from({ length: steps }, (_, i) => `MIGRATIONS.push(${JSON.stringify(stepOf(i + 1))});\n`);
  await change(join(packages, 'registry/dist/postgres/migrations.js'), /(?=export const NEWEST_SCHEMA)/, added.join(''));
  return packages;
}

export function laterVersion(steps: number): string {
  return `0.${1 + steps}.0`;
}

function stepOf(step: number): string {
  return `ALTER TABLE latchkey.nodes ADD COLUMN later_${step} bigint; ALTER TABLE latchkey.audit ADD COLUMN later_${step} text;
    CREATE INDEX nodes_by_later_${step} ON latchkey.nodes (later_${step});`;
}

async function change(path: string, what: RegExp, to: string): Promise<void> {
  const text = await readFile(path, 'utf8');
  if (!what.test(text)) throw new Error(`${basename(path)} has nothing like ${String(what)}`);
  await writeFile(path, text.replace(what, to));
}
