// What a browser loads: how much, under which names, and nothing that the page's policy refuses.

import { gzipSync } from 'node:zlib';
import { bundleConsole } from '@latchkey/release/console';
import { expect, it } from 'vitest';

/** Octets of everything that the first page needs, by gzip. */
const BUDGET = 60 * 1024;

const { files, moduleIds } = await bundleConsole();

it('the first page takes 60 KiB at most', () => {
  const octets = [...files.values()].reduce((sum, text) => sum + gzipSync(text).length, 0);
  expect(octets).toBeGreaterThan(10_000);
  expect(octets).toBeLessThan(BUDGET);
});

it('every asset is named by its content, and the page names each', async () => {
  const page = files.get('index.html') ?? '';
  const assets = [...files.keys()].filter((path) => path !== 'index.html');
  expect(assets.length).toBe(3);
  for (const path of assets) {
    expect(path).toMatch(/^assets\/[a-z]+-[0-9a-f]{10}\.(?:js|css|svg)$/);
    expect(page).toContain(`"/${path}"`);
  }
  expect([...(await bundleConsole()).files.keys()]).toEqual([...files.keys()]);
});

it('the script is made of its own sources and preact', () => {
  const packages = moduleIds.map(
    (id) => /node_modules\/((?!\.pnpm)[^/]+)\/[^/]+\/[^/]+$/.exec(id)?.[1] ?? /packages\/(\w+)/.exec(id)?.[1],
  );
  expect(new Set(packages.filter((name) => name !== undefined))).toEqual(new Set(['console', 'preact']));
});

it('the page has no inline script or style, and loads from nowhere else', () => {
  const page = files.get('index.html') ?? '';
  expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=/);
  for (const text of files.values()) expect(text.replaceAll(/http:\/\/www\.w3\.org\/[\w/]+/g, '')).not.toMatch(/https?:\/\//);
});
