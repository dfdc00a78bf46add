// Proves the node agent against a controller on a bare socket: what is on the disk before what is
// sent, and what ends an attempt.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Renewal } from '@latchkey/protocol';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { lookUpBy, type Received } from '@latchkey/test-support/fixtures';
import { NodeAgent } from '../src/node-agent.js';
import { NodeFile, type StoredNode } from '../src/node-file.js';
import { CumulativeUptime, type SavedUptime } from '../src/cumulative-uptime.js';
import { echoIn, ID_C, ID_I, install, type Installed, newKeyLease, newRecord, newSecret, TestController } from './fixtures.js';

async function setting(onKeyChange?: string): Promise<Installed & { controller: TestController }> {
  const record = newRecord();
  const controller = await TestController.open(record.state.confirmed);
  return { controller, ...(await install({ ...record, endpoints: [controller.endpoint] }, onKeyChange)) };
}

describe('a node that joins', () => {
  it('has the candidate on the disk before it sends M5, and the confirmed key before it says so', async () => {
    const { agent, controller, folder, file } = await setting();
    const ik = file.record.state.confirmed.toHex();
    const joining = agent.join();
    const m1 = await controller.next();
    expect(m1.payload).toHaveLength(21);
    controller.answer(m1, controller.m4(m1));
    const m5 = await controller.next();
    const between = (await NodeFile.open(folder)).record.state;
    expect([between.confirmed.toHex(), between.initial]).toEqual([ik, true]);
    expect(between.candidates.map(({ psk }) => psk.toHex())).toEqual([controller.psk?.toHex()]);

    controller.answer(m5, controller.m6(m5, 7_200));
    expect(await joining).toMatchObject({ kind: 'joined', lifetime: 7_200, key: controller.psk?.fingerprint });
    const { state, keyLease, lastAttempt } = (await NodeFile.open(folder)).record;
    expect([state.confirmed.toHex(), state.initial, state.candidates]).toEqual([controller.psk?.toHex(), false, []]);
    expect(keyLease?.lifetime).toBe(7_200);
    expect(keyLease?.renewal?.afterMs).toBeGreaterThanOrEqual(0.72 * 7_200_000);
    expect(keyLease?.renewal?.afterMs).toBeLessThanOrEqual(0.88 * 7_200_000);
    expect(lastAttempt?.outcome).toBe('joined');
    expect(agent.isDue).toBe(false);
  });

  it('brings back the proof it is asked for, once per exchange, and with M5 what it was given for M1', async () => {
    const { agent, controller } = await setting();
    const joining = agent.join();
    const first = await controller.next();
    expect(echoIn(first)).toBeUndefined();
    controller.challenge(first, Buffer.from('first'));
    const m1 = await controller.next();
    expect([m1.payload, echoIn(m1)]).toEqual([first.payload, Buffer.from('first')]);
    controller.answer(m1, controller.m4(m1));
    const stale = await controller.next();
    expect(echoIn(stale)).toEqual(Buffer.from('first'));
    controller.challenge(stale, Buffer.from('second'));
    const m5 = await controller.next();
    expect([m5.payload, echoIn(m5)]).toEqual([stale.payload, Buffer.from('second')]);
    controller.answer(m5, controller.m6(m5));
    expect(await joining).toMatchObject({ kind: 'joined' });
  });

  it('sends M5 again from a new socket, to what the name means by then, when no answer comes to the first', async () => {
    const record = newRecord();
    const controller = await TestController.open(record.state.confirmed);
    let address = '127.0.0.1';
    lookUpBy(() => Promise.resolve([address]));
    const { port } = controller.endpoint;
    const { agent } = await install({ ...record, endpoints: [{ host: 'moving.example', port }] });
    const joining = agent.join();
    const first = await controller.next();
    controller.challenge(first, Buffer.from('of the first port'));
    const m1 = await controller.next();
    controller.answer(m1, controller.m4(m1));
    const lost = await controller.next();
    await controller.moveTo((address = '127.0.0.2'));
    const m5 = await controller.next();
    expect(m5.payload).toEqual(lost.payload);
    expect(m5.from.port).not.toBe(lost.from.port);
    expect([echoIn(lost), echoIn(m5)]).toEqual([Buffer.from('of the first port'), undefined]);
    controller.answer(m5, controller.m6(m5));
    expect(await joining).toMatchObject({ kind: 'joined' });
  });

  describe('has a controller by a name with several addresses, of which one alone answers', () => {
    async function named(more: Partial<StoredNode> = {}): Promise<Installed & { controller: TestController }> {
      const record = newRecord(more);
      const controller = await TestController.open(record.state.confirmed);
      // Nobody is at the first one, and connect(2) refuses the broadcast address, as one without a
      // route.
      lookUpBy(() => Promise.resolve(['255.255.255.255', '127.0.0.5', '127.0.0.1']));
      const endpoints = [{ host: 'several.example', port: controller.endpoint.port }];
      return { controller, ...(await install({ ...record, endpoints })) };
    }

    it('and joins in the end', async () => {
      const { agent, controller, log } = await named();
      const running = agent.run();
      await controller.admit();
      expect(await log.until(({ msg }) => msg === 'joined')).toMatchObject({ key: controller.psk?.fingerprint });
      agent.stop();
      await running;
    });

    it('and joins in the end where each attempt is a process of its own', async () => {
      const { controller, folder, log } = await named({ lastAttempt: { at: 0, outcome: 'no answer' } });
      const admitted = controller.admit();
      for (let joined = false; !joined;) {
        const agent = new NodeAgent({ file: await NodeFile.open(folder), folder, onKeyChange: undefined, log: log.log });
        joined = await agent.join().then(
          () => true,
          () => false,
        );
      }
      await admitted;
      expect((await NodeFile.open(folder)).record.state.confirmed.toHex()).toBe(controller.psk?.toHex());
    });
  });

  it('takes a right M4 and a right M6 after wrong ones', async () => {
    const { agent, controller } = await setting();
    const joining = agent.join();
    const m1 = await controller.next();
    controller.answer(m1, new Uint8Array(53).fill(0x14));
    controller.answer(m1, controller.m4(m1, { key: newSecret() }));
    controller.answer(m1, controller.m4(m1, { idC: ID_C + 1 }));
    controller.answer(m1, new Uint8Array(0));
    controller.answer(m1, controller.m4(m1));
    const m5 = await controller.next();
    controller.answer(m5, new Uint8Array(13).fill(0x16));
    controller.answer(
      m5,
      controller.m6(m5).map((octet, i) => (i === 12 ? octet ^ 1 : octet)),
    );
    controller.answer(m5, controller.m6(m5));
    expect(await joining).toMatchObject({ kind: 'joined' });
  });

  it.each<[string, (controller: TestController, m5: Received) => void]>([
    ['was refused, as anybody can', (controller, m5) => controller.refuse(m5, '4.01')],
    ['was acknowledged, and nothing more came', (controller, m5) => controller.acknowledge(m5)],
    [
      'was answered wrongly too often',
      (controller, m5) => {
        for (let i = 0; i < 17; i++) controller.answer(m5, new Uint8Array(13).fill(0x16));
      },
    ],
  ])('sends M5 again, with the same octets, where the first %s', async (_, answer) => {
    const { agent, controller } = await setting();
    const joining = agent.join();
    const m1 = await controller.next();
    controller.answer(m1, controller.m4(m1));
    const first = await controller.next();
    answer(controller, first);
    const m5 = await controller.next();
    expect(m5.payload).toEqual(first.payload);
    expect(m5.messageId).not.toBe(first.messageId);
    controller.answer(m5, controller.m6(m5));
    expect(await joining).toMatchObject({ kind: 'joined' });
  });

  it('confirms a candidate that the controller turns out to hold', async () => {
    const { agent, controller, file } = await setting();
    const lost = agent.join();
    const m1 = await controller.next();
    controller.answer(m1, controller.m4(m1));
    const m5 = await controller.next();
    const candidate = controller.psk!;
    controller.refuse(m5, '4.04');
    controller.refuse(await controller.next(), '4.04');
    await expect(lost).rejects.toThrow('4.04 to M5');
    expect(agent.isDue).toBe(true);

    const again = agent.join();
    const next = await controller.next();
    controller.answer(next, controller.m4(next, { key: candidate }));
    const proof = await controller.next();
    expect(file.record.state.confirmed.toHex()).toBe(candidate.toHex());
    expect(file.record.hookPending).toBe(true);
    controller.answer(proof, controller.m6(proof));
    expect(await again).toMatchObject({ keyBefore: candidate.fingerprint, key: controller.psk?.fingerprint });
  });

  it.each(['4.03', '4.04', '5.03', '4.01'])('that is refused with %s fails, keeps its key and says why', async (code) => {
    const { agent, controller, file } = await setting();
    const ik = file.record.state.confirmed.toHex();
    const joining = agent.join();
    controller.refuse(await controller.next(), code);
    await expect(joining).rejects.toMatchObject({
      name: 'Failure',
      message: expect.stringContaining(`(${code} to M1)`) as string,
    });
    expect([file.record.state.confirmed.toHex(), file.record.state.candidates]).toEqual([ik, []]);
    expect(file.record.lastAttempt?.outcome).toContain(code);
  });

  it('that cannot store its candidate does not send M5', async () => {
    const { agent, controller, folder } = await setting();
    const joining = agent.join();
    const m1 = await controller.next();
    await rm(folder, { recursive: true });
    controller.answer(m1, controller.m4(m1));
    await expect(joining).rejects.toMatchObject({ name: 'Failure', message: expect.stringContaining('cannot write') as string });
    // What it sent is here by now, before what comes of the next attempt.
    const again = agent.join();
    expect((await controller.next()).payload[0]).toBe(0x11);
    agent.stop();
    await expect(again).rejects.toMatchObject({ name: 'Failure' });
  });
});

describe('a node that runs', () => {
  it('joins, tells the hook, and stops when asked to', async () => {
    const { agent, controller, file, log } = await setting('test "$LATCHKEY_ID" = 0000a1b2');
    const running = agent.run();
    await controller.admit();
    await log.until(({ msg }) => msg === 'joined');
    await vi.waitFor(() => expect(file.record.hookPending).toBe(false), { timeout: 60_000 });
    agent.stop();
    await running;
    expect(file.record).toMatchObject({ hookPending: false, state: { idI: ID_I, initial: false } });
  });

  it('tries again with its back-off, not once the oldest of four keys may go: the controller may hold one of them by then', async () => {
    const { agent, controller, file, log } = await setting();
    const candidates = Array.from({ length: 4 }, () => ({ psk: newSecret(), storedAt: 0 }));
    await file.write({ state: { ...file.record.state, candidates } });
    const running = agent.run();
    const m1 = await controller.next();
    controller.answer(m1, controller.m4(m1));
    const next = await controller.next();
    expect(log.lines.find(({ failures }) => failures === 1)?.['nextInSeconds']).toBeLessThanOrEqual(5);
    controller.answer(next, controller.m4(next, { key: candidates[2]!.psk }));
    const m5 = await controller.next();
    controller.answer(m5, controller.m6(m5));
    await log.until(({ msg }) => msg === 'joined');
    agent.stop();
    await running;
  });

  it('joins again by itself when its key is due', async () => {
    const { agent, controller, file, log } = await setting();
    const running = agent.run();
    for (let i = 0; i < 3; i++) await controllerAdmitsUnderItsLastKey(controller, i);
    await log.until(({ msg }) => msg === 'joined' && log.withMessage('joined').length === 3);
    agent.stop();
    await running;
    const keys = log.withMessage('joined').map(({ keyBefore, key }) => [keyBefore, key]);
    expect([keys[0]?.[1], keys[1]?.[1], keys[2]?.[1]]).toEqual([
      keys[1]?.[0],
      keys[2]?.[0],
      file.record.state.confirmed.fingerprint,
    ]);
  });

  it('tells the hook at the next start where it failed or was not run', async () => {
    const record = newRecord({ hookPending: true });
    const state = { ...record.state, initial: false };
    const { agent, file, log } = await install({ ...record, state, keyLease: newKeyLease(undefined) }, 'exit 1');
    const running = agent.run();
    await log.until(({ msg }) => msg.startsWith('on_key_change failed'));
    agent.stop();
    await running;
    expect(file.record.hookPending).toBe(true);
  });

  it('goes on where the disk takes nothing after the hook has run', async () => {
    const record = newRecord({ hookPending: true });
    const controller = await TestController.open(record.state.confirmed);
    // The hook takes the disk away, so to speak.
    const { agent, log } = await install({ ...record, endpoints: [controller.endpoint] }, 'rm -r "$LATCHKEY_STATE"');
    const running = agent.run();
    await log.until(({ level, msg }) => level === 'error' && msg.startsWith('cannot write'));
    await Promise.race([running, controller.next()]);
    agent.stop();
    await expect(running).resolves.toBeUndefined();
  });

  it.each([
    ['waits for M4', 0],
    ['waits for M6', 1],
  ])('stops when asked to while it %s', async (_, answered) => {
    const { agent, controller, file } = await setting();
    const running = agent.run();
    const m1 = await controller.next();
    if (answered === 1) {
      controller.answer(m1, controller.m4(m1));
      await controller.next();
    }
    agent.stop();
    await running;
    expect(file.record.state.candidates).toHaveLength(answered);
  });

  it('stops when asked to while it looks for its controller', async () => {
    const { agent, controller, log } = await setting();
    const running = agent.run();
    await log.until(({ msg }) => msg === 'attempt');
    agent.stop();
    const askingOn = controller.nextDatagram().then(() => controller.nextDatagram());
    const ended = await Promise.race([running.then(() => 'stopped'), askingOn.then(() => 'it sends its M1 again')]);
    expect(ended).toBe('stopped');
  });

  it('stops when asked to while it writes its candidate, and has that then', async () => {
    const { agent, controller, file, log } = await setting();
    const running = agent.run();
    const m1 = await controller.next();
    controller.answer(m1, controller.m4(m1));
    await log.until(({ msg, message }) => msg === 'received' && message === 'M4');
    // The write takes some turns of the event loop; this is the first of them.
    await new Promise(setImmediate);
    agent.stop();
    await running;
    expect(file.record.state.candidates).toHaveLength(1);
  });
});

const DAY_MS = 86_400_000;
const OTHER_BOOT = '00000000-0000-0000-0000-000000000000';

/** A node that has joined, and had its powered time saved `ago` before. */
function joinedRecord(renewal: Renewal, { ago = 0, ...saved }: Partial<SavedUptime> & { ago?: number } = {}): StoredNode {
  const record = newRecord({ keyLease: newKeyLease(renewal) });
  const now = new CumulativeUptime(undefined).save();
  const powered = { ...now, uptime_ms: now.uptime_ms - ago, ...saved };
  return { ...record, state: { ...record.state, initial: false }, powered };
}

describe('powered time', () => {
  it('is saved as the node starts in a boot that it has not seen, and that boot counted', async () => {
    const { agent, folder, file } = await install(
      joinedRecord({ afterMs: DAY_MS, afterBoots: 8 }, { boot: OTHER_BOOT, boots: 3 }),
    );
    const running = agent.run();
    await expect.poll(async () => (await NodeFile.open(folder)).record.powered?.boots, { timeout: 60_000 }).toBe(4);
    // What is on the disk is in `file` only once it is durable.
    agent.stop();
    await running;
    expect(file.record.powered?.boot).not.toBe(OTHER_BOOT);
    expect(file.record.lastAttempt).toBeUndefined();
  });

  it('is saved again and again while the node runs, as often as a boot may lose it', async () => {
    const { agent, file } = await install(joinedRecord({ afterMs: DAY_MS, afterBoots: DAY_MS / 100 }));
    const running = agent.run();
    for (let saves = 0; saves < 3; saves++) {
      const before = file.record.powered;
      await expect.poll(() => file.record.powered, { timeout: 60_000 }).not.toBe(before);
      expect(file.record.powered!.ms).toBeGreaterThan(before!.ms);
    }
    expect(file.record.lastAttempt).toBeUndefined();
    agent.stop();
    await running;
  });

  it('is saved as the node stops, and not before where the last time is less than an hour ago', async () => {
    const { agent, file } = await install(joinedRecord({ afterMs: 30 * DAY_MS, afterBoots: 8 }, { ago: DAY_MS / 48 }));
    const [running, before] = [agent.run(), file.record.powered!];
    await agent.saveUptime();
    expect(file.record.powered).toBe(before);
    agent.stop();
    await running;
    expect(file.record.powered!.ms).toBeGreaterThanOrEqual(before.ms + DAY_MS / 48);
  });

  it('that cannot be saved is not tried again at once', async () => {
    const { agent, folder, log } = await install(joinedRecord({ afterMs: 30 * DAY_MS, afterBoots: 8 }, { boot: OTHER_BOOT }));
    await rm(folder, { recursive: true });
    await agent.saveUptime();
    await agent.saveUptime();
    expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('of a key that does not expire is not saved without an attempt', async () => {
    const record = joinedRecord({ afterMs: 1, afterBoots: 8 }, { boot: OTHER_BOOT });
    const { agent, file } = await install({ ...record, keyLease: newKeyLease(undefined) });
    const running = agent.run();
    await agent.saveUptime();
    agent.stop();
    await running;
    expect(file.record.powered).toEqual(record.powered);
  });
});

describe('an on_key_change that hangs', () => {
  it('does not keep a node from an attempt that is due, and runs again for the key that comes of it', async () => {
    const record = { ...joinedRecord({ afterMs: DAY_MS, afterBoots: 1 }, { boot: OTHER_BOOT }), hookPending: true };
    const controller = await TestController.open(record.state.confirmed);
    const hook = 'echo >> "$LATCHKEY_STATE/said"; until test -e "$LATCHKEY_STATE/go"; do sleep 0.1; done';
    const { agent, folder, file, log } = await install({ ...record, endpoints: [controller.endpoint] }, hook);
    const running = agent.run();
    await controller.admit();
    await log.until(({ msg }) => msg === 'joined');
    expect(await readFile(join(folder, 'said'), 'utf8')).toBe('\n');
    await writeFile(join(folder, 'go'), '');
    await expect.poll(() => file.record.hookPending, { timeout: 60_000 }).toBe(false);
    expect(await readFile(join(folder, 'said'), 'utf8')).toBe('\n\n');
    agent.stop();
    await running;
  });
});

/** The first time under IK, then under the PSK of before; the key lasts a second. */
async function controllerAdmitsUnderItsLastKey(controller: TestController, round: number): Promise<void> {
  const m1 = await controller.next();
  const before = controller.psk;
  controller.answer(m1, controller.m4(m1, round === 0 || before === undefined ? {} : { key: before }));
  const m5 = await controller.next();
  controller.answer(m5, controller.m6(m5, 1));
}

describe('a node that is asked to join now', () => {
  it('renews a key that is not due', async () => {
    const record = newRecord({ keyLease: newKeyLease({ afterMs: 3_600_000, afterBoots: 8 }) });
    const joined = { ...record, state: { ...record.state, initial: false } };
    const controller = await TestController.open(record.state.confirmed);
    const { agent, log } = await install({ ...joined, endpoints: [controller.endpoint] });
    const running = agent.run();
    agent.joinNow();
    await controller.admit();
    expect(await log.until(({ msg }) => msg === 'joined')).toMatchObject({ key: controller.psk?.fingerprint });
    agent.stop();
    await running;
  });
});

describe('a node that sleeps', () => {
  it('leaves nothing of a sleep on a signal that outlives it', async () => {
    const signals = recordSignals();
    // The record sees what this test is about.
    // oxlint-disable-next-line eslint/no-restricted-properties
    AbortSignal.any([new AbortController().signal]);
    expect(signals.map(referrers)).toEqual([1]);

    lookUpBy(() => Promise.reject(new Error('no name server')));
    const { agent, log } = await install(newRecord({ endpoints: [{ host: 'unknown.example', port: 5683 }] }));
    const running = agent.run();
    // Each attempt fails at once, and the sleep after it is ended.
    for (let failed = 1; failed <= 10; failed += 1) {
      await log.until(({ failures }) => failures === failed);
      agent.joinNow();
    }
    agent.stop();
    await running;
    expect(Math.max(...signals.slice(1).map(referrers))).toBeLessThan(2);
  });
});

/** Returns the signals of all controllers that are made until the test ends. */
function recordSignals(): AbortSignal[] {
  const signals: AbortSignal[] = [];
  vi.stubGlobal(
    'AbortController',
    class extends AbortController {
      constructor() {
        super();
        signals.push(this.signal);
      }
    },
  );
  onTestFinished(() => void vi.unstubAllGlobals());
  return signals;
}

/**
 * Returns how many listeners and signals a signal refers to. Node.js counts only its listeners for
 * others: signals made of it stay in a set of its own after they are gone.
 */
function referrers(signal: AbortSignal): number {
  const fields = Object.getOwnPropertySymbols(signal).map((name): unknown => Reflect.get(signal, name));
  return fields.reduce<number>((sum, field) => sum + ((field as { readonly size?: number } | undefined)?.size ?? 0), 0);
}

describe('the expiry of a key', () => {
  it('is told to on_key_change once, with the reason', async () => {
    const at = Date.now() - 7_200_000;
    const keyLease = {
      joinedAt: at,
      at,
      poweredAt: -7_200_000,
      boots: 1,
      lifetime: 3_600,
      renewal: { afterMs: 3_000_000, afterBoots: 8 },
    };
    const record = newRecord({ keyLease });
    const joined = { ...record, state: { ...record.state, initial: false } };
    const { agent, folder } = await install(joined, 'echo "$LATCHKEY_REASON" >> "$LATCHKEY_STATE/told"');
    await agent.runPendingHook();
    await agent.runPendingHook();
    expect(await readFile(join(folder, 'told'), 'utf8')).toBe('expired\n');
    expect((await NodeFile.open(folder)).record.expiryHookFor).toBe(at);
  });
});
