// Proves what an installed node-agent loads on its way to M1, that it starts the second time from
// what V8 kept, and with nothing in another's hands.

import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../src/bundle.js';
import { manifest } from '../src/npm.js';
import { PRODUCTS, ROOT } from '../src/product.js';
import { writeTree, type Tree } from '../src/tree.js';

const product = PRODUCTS.find(({ name }) => name === 'node-agent')!;
const folder = mkdtempSync(join(tmpdir(), 'latchkey-start-'));
const main = join(folder, 'dist/main.js');
const report = join(folder, 'report.json');
const socket: Socket = createSocket('udp4');
let tree: Tree;
let states = 0;

/** Tells on SIGUSR2 what is loaded. */
const PROBE = `process.on('SIGUSR2', () => require('node:fs').writeFileSync(${JSON.stringify(report)} + '.new', JSON.stringify({
  own: Object.keys(require.cache), builtin: process.moduleLoadList }), { flush: true }) ||
  require('node:fs').renameSync(${JSON.stringify(report)} + '.new', ${JSON.stringify(report)}));`;

beforeAll(async () => {
  ({ tree } = await bundle(product));
  await writeTree(tree, folder);
  writeFileSync(join(folder, 'package.json'), manifest(product, '0.1.0', []));
  symlinkSync(join(ROOT, 'packages/runtime/node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'probe.cjs'), PROBE);
  writeFileSync(join(folder, 'key'), `${'0123456789abcdef'.repeat(2)}\n`, { mode: 0o600 });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
});
afterAll(() => {
  socket.close();
  rmSync(folder, { recursive: true });
});

function command(...args: readonly string[]): ChildProcess {
  return spawn(process.execPath, ['--require', join(folder, 'probe.cjs'), main, ...args], { stdio: 'ignore' });
}

async function install(): Promise<string> {
  const state = join(folder, `state-${(states += 1)}`);
  const controller = ['--controller', `127.0.0.1:${socket.address().port}`, '--controller-id', '00000001'];
  const child = command('install', '--state', state, '--id', '0000a1b2', ...controller, '--ik-file', join(folder, 'key'));
  expect(await once(child, 'exit')).toEqual([0, null]);
  return state;
}

/** Runs until M1 was repeated: it has gone to rest in between. */
async function run(state: string, atM1?: (child: ChildProcess) => Promise<void>): Promise<void> {
  const child = command('run', '--state', state);
  await once(socket, 'message');
  await atM1?.(child);
  await once(socket, 'message');
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function reported(child: ChildProcess): Promise<{ readonly own: readonly string[]; readonly builtin: readonly string[] }> {
  rmSync(report, { force: true });
  child.kill('SIGUSR2');
  while (!existsSync(report)) await new Promise((resolve) => void setImmediate(resolve));
  return JSON.parse(readFileSync(report, 'utf8')) as { own: string[]; builtin: string[] };
}

describe('on its way to M1', () => {
  it('node-agent loads its own three files and what rolldown shares between them', async () => {
    const state = await install();
    await run(state, async (child) => {
      const { own, builtin } = await reported(child);
      const files = own.map((path) => path.slice(folder.length + 1)).filter((path) => path !== 'probe.cjs');
      for (const file of files)
        expect(file).toMatch(/^dist\/(?:main|cached-start-.*|program|rolldown-runtime-.*)\.js$|\.node$|^\.\./);
      const modules = builtin.map((name) => name.replace('NativeModule ', ''));
      for (const none of ['assert', 'dns', 'http', 'perf_hooks', 'readline', 'tls', 'worker_threads', 'zlib'])
        expect(modules).not.toContain(none);
    });
  });

  it('has 256 KiB to compile at most', () => {
    const program = tree.get('dist/program.js');
    expect(program !== undefined && 'octets' in program && program.octets.length).toBeLessThan(256 * 1024);
  });
});

describe('what V8 has compiled', () => {
  it('is kept for the next start, for its own user alone', async () => {
    const state = await install();
    await run(state);
    const first = statSync(join(state, 'code-cache'));
    expect(first.mode & 0o777).toBe(0o600);
    await run(state);
    expect(statSync(join(state, 'code-cache')).ino).toBe(first.ino);
  });

  it('is made anew where it is not what was kept', async () => {
    const state = await install();
    await run(state);
    const path = join(state, 'code-cache');
    const octets = readFileSync(path);
    const broken = Uint8Array.from(octets);
    broken[broken.length >> 1]! ^= 1;
    writeFileSync(path, broken);
    await run(state);
    expect(readFileSync(path).equals(broken)).toBe(false);
  });

  it('is not kept where others may write', async () => {
    const state = await install();
    chmodSync(state, 0o770);
    await run(state);
    expect(existsSync(join(state, 'code-cache'))).toBe(false);
  });
});

describe('with http', () => {
  it('serves from the files that are loaded for it, and says how it is', async () => {
    const state = await install();
    const where = ['--http', `unix:${join(state, 'http.sock')}`];
    const child = command('run', '--state', state, ...where);
    await once(socket, 'message');
    let code: unknown;
    // It listens once it has begun to join.
    while (code !== 0 && child.exitCode === null) [code] = await once(command('health', ...where), 'exit');
    expect(child.exitCode).toBeNull();
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await gone).toEqual([0, null]);
  });
});

describe('any other command', () => {
  it('does its work, and keeps nothing', async () => {
    const state = await install();
    const child = command('status', '--state', state);
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(existsSync(join(state, 'code-cache'))).toBe(false);
  });
});
