// Proves that what V8 compiled is believed only whole, for the same program, and where nobody else
// can have written it.

import {
  chmodSync,
  chownSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { readCodeCache, writeCodeCache } from '../src/code-cache.js';

const SOURCE = 'exports.start = () => undefined;';
const COMPILED = Buffer.from('what V8 made of it');

function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-compiled-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

function kept(): { readonly folder: string; readonly path: string } {
  const folder = tempFolder();
  writeCodeCache(folder, SOURCE, COMPILED);
  return { folder, path: join(folder, 'code-cache') };
}

describe('what V8 compiled', () => {
  it('comes back as it was, and lies there for its own user alone', () => {
    const { folder, path } = kept();
    expect(readCodeCache(folder, SOURCE)?.equals(COMPILED)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['code-cache']);
  });

  it('is replaced as a whole', () => {
    const { folder, path } = kept();
    writeFileSync(join(folder, '.code-cache.new'), 'left by a crash');
    const before = statSync(path).ino;
    writeCodeCache(folder, SOURCE, Buffer.from('something else'));
    expect(statSync(path).ino).not.toBe(before);
    expect(String(readCodeCache(folder, SOURCE))).toBe('something else');
  });

  it('is not there at first', () => {
    expect(readCodeCache(tempFolder(), SOURCE)).toBeUndefined();
    expect(readCodeCache('/nowhere', SOURCE)).toBeUndefined();
  });

  it('is not of another program, even of one as long', () => {
    const { folder } = kept();
    expect(readCodeCache(folder, SOURCE.replace('start', 'stop!'))).toBeUndefined();
  });

  it('is not of another Node.js', () => {
    const { folder } = kept();
    const version = vi.spyOn(process, 'version', 'get').mockReturnValue('v99.0.0');
    onTestFinished(() => version.mockRestore());
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
  });

  it.each([0, 31, 32, 40])('is not believed with its octet %i changed', (at) => {
    const { folder, path } = kept();
    const octets = readFileSync(path);
    octets[at]! ^= 1;
    writeFileSync(path, octets);
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
  });

  it.each([0o620, 0o602, 0o666])('is not believed with mode %o', (mode) => {
    const { folder, path } = kept();
    chmodSync(path, mode);
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
  });

  it.each([0o720, 0o702, 0o1777])('is neither believed nor written in a folder of mode %o', (mode) => {
    const { folder } = kept();
    chmodSync(folder, mode);
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
    rmSync(join(folder, 'code-cache'));
    writeCodeCache(folder, SOURCE, COMPILED);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is not believed where it is a link', () => {
    const { folder, path } = kept();
    renameSync(path, `${path}.other`);
    symlinkSync(`${path}.other`, path);
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
    rmSync(path);
    linkSync(`${path}.other`, path);
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
  });

  it("is neither believed nor written by one user in another's folder, be it by root", () => {
    const { folder, path } = kept();
    giveAway(folder);
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
    const before = statSync(path).ino;
    writeCodeCache(folder, SOURCE, COMPILED);
    expect(statSync(path).ino).toBe(before);
  });

  it.runIf(process.getuid?.() === 0)("is not believed where it is another user's file", () => {
    const { folder, path } = kept();
    giveAway(path);
    expect(readCodeCache(folder, SOURCE)).toBeUndefined();
  });
});

/** It becomes another user's, or else this process another one. */
function giveAway(path: string): void {
  if (process.getuid?.() === 0) return chownSync(path, 1000, 1000);
  const user = vi.spyOn(process, 'geteuid').mockReturnValue(0);
  onTestFinished(() => user.mockRestore());
}
