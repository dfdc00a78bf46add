// What a browser loads: how much, under which names, and nothing that the page's policy refuses.

import { gzipSync } from 'node:zlib';
import { bundleConsole } from '@latchkey/release/console';
import { expect, it } from 'vitest';

/** Octets by gzip: of everything that the first page needs, and of all that is ever loaded. */
const FIRST_PAGE = 60 * 1024;
const IN_ALL = 120 * 1024;

const { files, firstPage, moduleIds } = await bundleConsole();

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
  // Pages of the menu are the third.
  expect(later.length).toBe(3);
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
  const noble = ['ciphers', 'curves', 'hashes', 'post-quantum'].map((name) => `@noble/${name}`);
  expect(new Set(packages.filter((name) => name !== undefined))).toEqual(
    new Set(['console', 'provisioning', 'preact', 'qr', 'age-encryption', '@scure/base', ...noble]),
  );
});

it('the page has no inline script or style, and loads from nowhere else', () => {
  const page = files.get('index.html') ?? '';
  expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=/);
  for (const text of files.values()) expect(text.replaceAll(/http:\/\/www\.w3\.org\/[\w/]+/g, '')).not.toMatch(/https?:\/\//);
});
