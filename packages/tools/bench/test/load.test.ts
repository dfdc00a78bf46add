// Proves that the load generator speaks what the daemons speak, that its timers fire, and that the
// joins suite measures what it says at sizes too small to tell anything of speed.

import { spawn } from 'node:child_process';
import { createCipheriv, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beginAttempt, openM4, decodeM4, receiveM4, sealM4, sealM6, Secret } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { airSuite } from '../src/message-size/suite.js';
import { EXCHANGES, total } from '../src/message-size/specifications.js';
import type { RatioMetric } from '../src/ratio.js';
import { joinsSuite } from '../src/joins/suite.js';
import { VirtualNode } from '../src/load/virtual-node.js';
import { percentile } from '../src/load/load-profile.js';
import { NO_TICK, TimerWheel, type Scheduled } from '../src/load/timer-wheel.js';
import { packRequest, readAnswer } from '../src/load/wire.js';
import { ReferenceServer } from '../src/reference-servers/reference-server.js';
import { REFERENCE_PROGRAMS } from '../src/reference-servers/programs.js';
import { peersSuite } from '../src/reference-servers/suite.js';

function expectNumbers(figures: readonly RatioMetric[]): void {
  for (const { what, of, baseline, ratio } of figures) {
    for (const summary of [of.measured, baseline.measured]) expect(Number.isFinite(summary.median), what).toBe(true);
    expect(Number.isNaN(ratio.median), what).toBe(false);
  }
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-bench-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

describe('the wire', () => {
  it('has a request as RFC 7252 lays it out, with an Echo where there is one', () => {
    expect(packRequest(0x1234, 0xdeadbeef, undefined, Buffer.from([7])).toString('hex')).toBe('44021234deadbeefb16bff07');
    const echo = Buffer.from('000102030405060708090a0b', 'hex');
    expect(packRequest(1, 2, echo, Buffer.from([7])).toString('hex')).toBe(`4402000100000002b16bdce4${echo.toString('hex')}ff07`);
  });

  it('reads answers with and without options', () => {
    const changed = readAnswer(Buffer.from('64440001deadbeefff0708', 'hex'));
    expect([changed?.code, changed?.token, changed?.payload.toString('hex')]).toEqual([0x44, 0xdeadbeef, '0708']);
    const asked = readAnswer(Buffer.from('6481000100000002dcef000102030405060708090a0b', 'hex'));
    expect([asked?.code, asked?.echo?.toString('hex'), asked?.payload.length]).toEqual([0x81, '000102030405060708090a0b', 0]);
    expect(readAnswer(Buffer.from('64a3000100000002d1010a', 'hex'))?.maxAge).toBe(10);
    expect(readAnswer(Buffer.from('60000001', 'hex'))).toBeUndefined();
  });
});

describe('a node as it is played', () => {
  const ik = randomBytes(16);
  const [idC, tid, rnC] = [1, 99n, randomBytes(16)];

  it('answers M4 as the protocol does, and opens M6 alone', () => {
    const node = new VirtualNode(7, ik);
    const key = Secret.from(ik);
    const rnI = randomBytes(16);
    const m1 = node.m1(rnI);
    const m4 = Buffer.from(sealM4({ idC, tid }, { rnI, rnC }, key, m1));
    expect(openM4(decodeM4(m4), key, m1)).toBeDefined();
    const proof = node.prove(m4, m1);
    const state = { idI: 7, controllers: [1], confirmed: key, initial: true, candidates: [] };
    const decision = receiveM4(state, beginAttempt(state, rnI, 0), m4, 0);
    if (proof === undefined || decision.kind !== 'store') throw new Error('M4 does not open');
    expect(proof.m5.equals(decision.m5)).toBe(true);
    const m6 = Buffer.from(sealM6({ idC, tid }, { lifetime: 0 }, decision.attempt.psk, proof.m5));
    expect(node.confirm(Buffer.alloc(m6.length, 0x16), proof)).toBe(false);
    expect(node.confirm(m6, proof)).toBe(true);
    const mixed = Buffer.from(rnI.map((octet, i) => octet ^ (rnC[i] ?? 0)));
    const psk = createCipheriv('aes-128-ecb', ik, null).setAutoPadding(false).update(mixed);
    expect(proof.psk.toHex()).toBe(psk.toString('hex'));
  });

  it('keeps a key that M5 was sent under until another is confirmed', () => {
    const node = new VirtualNode(7, ik);
    const [first, second] = [randomBytes(16), randomBytes(16)].map((rnI) => ({ rnI, m1: node.m1(rnI) }));
    if (first === undefined || second === undefined) throw new Error('no attempts');
    const proof = node.prove(Buffer.from(sealM4({ idC, tid }, { rnI: first.rnI, rnC }, Secret.from(ik), first.m1)), first.m1);
    if (proof === undefined) throw new Error('M4 does not open');
    // M6 was lost, the registry has the new key.
    const m4 = Buffer.from(sealM4({ idC, tid: 100n }, { rnI: second.rnI, rnC }, proof.psk, second.m1));
    expect(node.prove(m4, second.m1)).toBeDefined();
    expect(node.prove(m4, first.m1)).toBeUndefined();
  });
});

it('a timer wheel fires what is due, later when put off, earlier when brought forward, and not what was called off', () => {
  const fired: string[] = [];
  const wheel = new TimerWheel<Scheduled & { name: string }>(({ name }) => fired.push(name));
  onTestFinished(() => wheel.close());
  const now = performance.now();
  const add = (name: string, ms: number): Scheduled & { name: string } => {
    const what = { name, dueAt: now + ms, tick: NO_TICK };
    wheel.add(what);
    return what;
  };
  add('soon', 100);
  const putOff = add('put off', 200);
  putOff.dueAt = now + 5_000;
  const forward = add('forward', 20_000);
  forward.dueAt = now + 300;
  wheel.add(forward);
  add('called off', 100).dueAt = Infinity;
  add('far', 60_000);
  wheel.advance(now + 1_000);
  expect(fired).toEqual(['soon', 'forward']);
  wheel.advance(now + 6_000);
  expect(fired).toEqual(['soon', 'forward', 'put off']);
  wheel.advance(now + 61_000);
  expect(fired.at(-1)).toBe('far');
});

it('a percentile is the sample that so many lie at or below', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
  expect([0.5, 0.99, 0.999, 1].map((part) => percentile(hundred, part))).toEqual([50, 99, 100, 100]);
  expect(percentile([7], 0.5)).toBe(7);
  expect(percentile([], 0.5)).toBeNaN();
});

it('joins are measured at tiny sizes: every figure is a number, storms are complete, nothing fails', async () => {
  const tiny = {
    nodes: 120,
    inFlight: [64],
    rates: [50],
    ms: 200,
    warmUp: 50,
    storm: 100,
    stormRounds: 1,
    sweep: [1, 2],
    sustainedMs: 200,
    writes: 20,
    computed: 20,
  };
  const told: string[] = [];
  const run = { rounds: 1, depth: 'quick', folder: await temporaryFolder(), report: (what: string) => told.push(what) } as const;
  const { figures, series = [], remarks } = await joinsSuite(run, tiny);
  expectNumbers(figures);
  const failed = figures.find(({ what }) => what.endsWith('attempts that failed'));
  expect(failed?.of.measured.median).toBe(0);
  expect(series.map(({ points }) => points.length)).toEqual([2, 2]);
  expect(remarks.join()).toContain('load generator');
  expect(figures.find(({ of }) => of.name === 'the protocol alone')?.of.measured.median).toBeGreaterThan(0);
  for (const part of [
    'joins/s',
    'p99',
    'CPU time of a join',
    'open loop',
    'at the knee',
    'storm',
    'memory of controller',
    'memory of auth-server',
  ])
    expect(
      figures.some(({ what }) => what.includes(part)),
      part,
    ).toBe(true);
  expect(told.length).toBeGreaterThan(5);
});

it('octets on the air are those of the messages, and AES blocks are counted', async () => {
  const { figures, tables } = await airSuite();
  expectNumbers(figures);
  const [own] = EXCHANGES;
  expect(own && [total(own.messages, 'payload'), total(own.messages, 'datagram')]).toEqual([120, 160]);
  expect(figures.some(({ what, of }) => what.startsWith('AES blocks') && of.measured.median > 10)).toBe(true);
  expect(tables?.[0]?.rows.length).toBeGreaterThan(20);
});

it('peers that are not installed are skipped with a word', async () => {
  const run = { rounds: 1, depth: 'quick', folder: await temporaryFolder(), report: () => undefined } as const;
  const missing = REFERENCE_PROGRAMS.map((peer) => ({ ...peer, server: 'a-command-that-is-not-there' }));
  const { figures, remarks } = await peersSuite(run, undefined, missing);
  expect(figures).toEqual([]);
  expect(remarks).toHaveLength(REFERENCE_PROGRAMS.length);
  for (const remark of remarks) expect(remark).toMatch(/^Skipped: .*a-command-that-is-not-there.*Debian: /);
});

describe('a peer that refuses a client', () => {
  /** Refuses so many clients, once it has started: each takes away what refuses it. */
  async function peerRefusing(clients: number): Promise<ReferenceServer> {
    const folder = await temporaryFolder();
    const refusals = Array.from({ length: clients }, (_, i) => join(folder, `refusal-${i}`));
    const client = [...refusals.map((path) => `rmdir ${path} 2>/dev/null`), 'echo in'].join(' || ');
    const peer = await ReferenceServer.start(
      {
        name: 'somebody',
        packages: [],
        server: 'sleep',
        client: 'sh',
        prepare: () => Promise.resolve({ args: ['600'], port: 9 }),
        clientArgs: () => Promise.resolve(['-c', client]),
        success: /^in$/m,
      },
      folder,
    );
    onTestFinished(() => peer.stop());
    for (const path of refusals) await mkdir(path);
    return peer;
  }

  it('has it come again', async () => {
    const peer = await peerRefusing(1);
    expect((await peer.measure(50)).cpuUs).toBeGreaterThanOrEqual(0);
  });

  it('more often than one in fifty is not measured, in words', async () => {
    const peer = await peerRefusing(2);
    await expect(peer.measure(50)).rejects.toThrow(new Failure('somebody refused 2 clients'));
  });
});

it('figures are in the document as soon as their suite has ended', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'PERFORMANCE-TABLES.md');
  await writeFile(path, '<!-- bench air -->\n<!-- end -->\n<!-- bench joins -->\n<!-- end -->\n');
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, 'air', 'joins', '--out', folder, '--folder', folder], {
    stdio: 'ignore',
    detached: true,
  });
  const ended = once(child, 'close');
  onTestFinished(async () => {
    // With the daemons it has started.
    process.kill(-child.pid!, 'SIGKILL');
    await ended;
  });
  await vi.waitFor(async () => expect(await readFile(path, 'utf8')).toContain('AES blocks of a join'), 280_000);
  expect(child.exitCode).toBeNull();
  expect(await readFile(path, 'utf8')).toMatch(/<!-- bench joins -->\n<!-- end -->/);
});
