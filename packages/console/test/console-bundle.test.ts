// What a browser loads: how much, under which names, and nothing that the page's policy refuses.

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bundleConsole } from '@latchkey/release/console';
import { expect, it } from 'vitest';
import { ADMINISTRATION_STRINGS } from '../src/strings/administration.js';
import { INSTALL_STRINGS } from '../src/strings/install.js';

/** Octets by gzip: of everything that the first page needs, and of all that is ever loaded. */
const FIRST_PAGE = 60 * 1024;
const IN_ALL = 120 * 1024;

const { files, firstPage, firstPageModuleIds, moduleIds } = await bundleConsole();

it('the first page takes 60 KiB at most, and all of the console 120 KiB', () => {
  const sizes = new Map([...files].map(([path, text]) => [path, gzipSync(text).length]));
  const sum = (paths: Iterable<string>): number => [...paths].reduce((octets, path) => octets + (sizes.get(path) ?? NaN), 0);
  expect(sum(firstPage)).toBeGreaterThan(10_000);
  expect(sum(firstPage)).toBeLessThan(FIRST_PAGE);
  expect(sum(files.keys())).toBeLessThan(IN_ALL);
});

it('what opens age files and draws codes is no part of the first page', () => {
  const first = firstPage.map((path) => files.get(path)).join('');
  const later = [...files.keys()].filter((path) => !firstPage.includes(path)).map((path) => files.get(path) ?? '');
  const mark = 'age-encryption.org/v1';
  expect(later.filter((text) => text.includes(mark)).length).toBe(1);
  expect(first).not.toContain(mark);
  // The other files: pages that are opened later, two that draw codes, and one that reads them.
  expect(later.length).toBe(5);
});

it('no module of the first page uses a text that comes with another page', async () => {
  const groups = new Set(Object.keys({ ...ADMINISTRATION_STRINGS, ...INSTALL_STRINGS }).map((key) => key.split('.')[0]));
  const modules = firstPageModuleIds.filter((id) => id.includes('/console/src/') && !id.includes('/strings/'));
  expect(modules.length).toBeGreaterThan(40);
  const used = await Promise.all(
    modules.map(async (id) =>
      [...(await readFile(id, 'utf8')).matchAll(/['`"]([a-z-]+)\./g)].map(([, group]) => `${basename(id)}: ${group}`),
    ),
  );
  expect(used.flat().filter((one) => groups.has(one.split(': ')[1]))).toEqual([]);
});

it('every asset is named by its content, and the page names each', async () => {
  const page = files.get('index.html') ?? '';
  const isAsset = (path: string): boolean => path !== 'index.html';
  for (const path of [...files.keys()].filter(isAsset)) expect(path).toMatch(/^assets\/[a-z-]+-[0-9a-f]{10}\.(?:js|css|svg)$/);
  const assets = firstPage.filter(isAsset);
  expect(assets.length).toBe(3);
  for (const path of assets) expect(page).toContain(`"/${path}"`);
  expect([...(await bundleConsole()).files.keys()]).toEqual([...files.keys()]);
});

it('the scripts are made of its own sources, preact, and what opens age files and draws codes', () => {
  const packages = moduleIds.map((id) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1] ?? /packages\/(\w+)/.exec(id)?.[1]);
  const noble = ['ciphers', 'hashes'].map((name) => `@noble/${name}`);
  expect(new Set(packages.filter((name) => name !== undefined))).toEqual(
    new Set(['console', 'provisioning', 'preact', 'qr', 'age-encryption', '@scure/base', ...noble]),
  );
});

it('the page has no inline script or style, and loads from nowhere else', () => {
  const page = files.get('index.html') ?? '';
  expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=/);
  for (const text of files.values()) expect(text.replaceAll(/http:\/\/www\.w3\.org\/[\w/]+/g, '')).not.toMatch(/https?:\/\//);
});
