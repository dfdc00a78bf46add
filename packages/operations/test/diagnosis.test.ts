// Proves that a diagnosis names each cause for what the server really saw, and nothing that is over
// or not so.

import { formatId, type Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  moveNodes,
  removeNodes,
  resetNode,
  setDisabled,
  setJoinWindow,
  setOrderState,
  setKeyLifetime,
} from '../src/administration.js';
import type { Registry } from '@latchkey/registry';
import { type Diagnosis, diagnosisSchema } from '../src/contract/diagnosis.js';
import { type Surroundings, surroundingsOf } from '../src/diagnosis-situation.js';
import { C1, C2, diagnosisOf, newSecret, AdminFixture, UNKNOWN_CONTROLLER } from '@latchkey/test-support/admin-fixture';

const ID = '00000001';
const MINUTE = 60_000;
let office: AdminFixture;
let registry: Registry;
let ik: Secret;
let number: number;
/** When the test began; the servers' clocks go by it. */
let start: number;

beforeEach(async () => {
  office = await AdminFixture.open();
  ({ registry } = office);
  ik = newSecret();
  number = await office.order({ 1: ik, 2: newSecret() });
  start = Date.now();
});

/**
 * Returns the diagnosis beside a server that runs, whose clock was never set back. Its facts and
 * its action are those of the contract, and no more.
 */
async function diagnosis(at: number = Date.now(), idI = 1, more: Partial<Surroundings> = {}): Promise<Diagnosis> {
  const found = await diagnosisOf(registry, idI, at, more);
  expect(diagnosisSchema.parse(found)).toEqual(found);
  return found;
}

/** The cause, having looked at the rest: plain data that JSON keeps, and a sentence for people. */
async function cause(at: number = Date.now(), idI = 1, more: Partial<Surroundings> = {}): Promise<string> {
  const found = await diagnosis(at, idI, more);
  expect(found.sentence).toMatch(/^[A-Z].*\.$/);
  expect(found.sentence).toContain(formatId(idI));
  expect(found.sentence).not.toMatch(/undefined|NaN|null|\[object|[0-9a-f]{16}| {2}/);
  expect(JSON.parse(JSON.stringify(found))).toEqual(found);
  return found.cause;
}

function causes(times: readonly number[]): Promise<string[]> {
  return Promise.all(times.map((at) => cause(at)));
}

async function sentence(at: number = Date.now(), idI = 1): Promise<string> {
  return (await diagnosis(at, idI)).sentence;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}

describe('a node that is not in the registry', () => {
  it('is unknown, and whoever asked for it is named', async () => {
    expect(await cause(start, 9)).toBe('unknown');
    expect(await sentence(start, 9)).toBe('Node 00000009 is not in the registry. No controller asked for it.');
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(9, newSecret(), { idC: C2 }), 'm2')).toBe('unknownNode');
    }, start);
    expect(await sentence(start, 9)).toBe(
      `Node 00000009 is not in the registry. Controller 00000002 asked for it, last at ${iso(start)}.`,
    );
    expect((await diagnosis(start, 9)).action).toEqual({ kind: 'import-node', node: '00000009', joined_before: null });
  });

  it('was removed, when and by whom, and holds its own key if it had joined', async () => {
    await office.join(1, ik);
    await removeNodes(registry, [1, 2]);
    const entry = office.entriesAfter(0).find(({ what }) => what === 'node removed');
    expect(await cause()).toBe('unknown');
    expect(await sentence()).toContain(`is not in the registry: user ada removed it at ${entry!.at}.`);
    expect([(await diagnosis()).action, (await diagnosis(start, 2)).action]).toEqual([
      { kind: 'import-node', node: ID, joined_before: true },
      { kind: 'import-node', node: '00000002', joined_before: false },
    ]);
    expect((await diagnosis()).facts.removed).toEqual({ at: entry!.at, by: 'user ada' });
  });
});

describe('a node that never joined', () => {
  it('has a controller that was never heard', async () => {
    expect(await cause()).toBe('controller-silent');
    // It may run: not every implementation asks for keys by itself. The device is looked at first.
    expect([(await diagnosis()).action.kind, (await diagnosis()).instead?.kind]).toEqual(['check-device', 'check-controller']);
    expect(await sentence()).toContain('was never heard. A controller that runs asks for the keys of its nodes at its start.');
  });

  it('has a controller with another SK_cs, until that is put right', async () => {
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(2, newSecret(), { skCs: newSecret() }), 'm2')).toBe('4.01');
    }, start);
    expect(await cause()).toBe('controller-key');
    expect(await sentence()).toContain(`do not open since ${iso(start)}`);
    await office.testServer((serving) => serving.request(serving.exchange(2, newSecret()), 'm2'), start + MINUTE);
    expect(await cause(start + MINUTE)).toBe('never-asked');
  });

  it('was never asked for, by a controller that was heard', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(2, newSecret()), 'm2'), start);
    expect(await cause()).toBe('never-asked');
    expect(await sentence()).toContain(`Its controller 00000001 was heard last at ${iso(start)}`);
    // As long as it was heard lately, the device is what is silent.
    expect(
      [await diagnosis(start), await diagnosis(start + 60 * MINUTE)].map(({ action, instead }) => [action.kind, instead?.kind]),
    ).toEqual([
      ['check-device', undefined],
      ['check-device', 'check-controller'],
    ]);
  });

  it('is joining for a minute, and then its proof is missing', async () => {
    await office.testServer(async (serving) => {
      await serving.request(serving.exchange(1, newSecret()), 'm2');
      serving.now.wallMs += 10_000;
      await serving.request(serving.exchange(1, newSecret()), 'm2');
    }, start);
    expect([await cause(start + 10_000), await cause(start + MINUTE - 1), await cause(start + MINUTE)]).toEqual([
      'joining',
      'joining',
      'proof-missing',
    ]);
    expect(await sentence(start + MINUTE)).toContain(`2 times since ${iso(start)}`);
    expect(await sentence(start + MINUTE)).toContain(`another initial key than [secret ${ik.fingerprint}]`);
    expect(await diagnosis(start + MINUTE)).toMatchObject({
      action: { kind: 'reinstall-device', node: ID },
      instead: { kind: 'reset-node', initial_key: 'new' },
    });
  });

  it('is asked for by the wrong controller, until it is moved there', async () => {
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(1, ik, { idC: C2 }), 'm2')).toBe('notAssigned');
    }, start);
    expect(await cause()).toBe('wrong-controller');
    expect(await sentence()).toBe(
      `Controller 00000002 asked for node ${ID}, which is assigned to 00000001, last at ${iso(start)}.`,
    );
    expect(await diagnosis()).toMatchObject({
      action: { kind: 'move-node', controller: '00000002', address: '192.0.2.1:5685' },
      instead: { kind: 'move-device', controller: '00000001', address: '192.0.2.1:5684' },
    });
    await moveNodes(registry, [1], C2);
    expect(await cause()).not.toBe('wrong-controller');
    // A controller the registry does not have is nobody.
    await moveNodes(registry, [1], C1);
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(2, ik, { idC: UNKNOWN_CONTROLLER }), 'm2')).toBe('4.01');
    });
    expect(await cause(start, 2)).toBe('controller-silent');
  });

  it('is kept out by the window of its order, told apart from an order that is suspended or closed', async () => {
    const [from, until] = [start + MINUTE, start + 2 * MINUTE];
    await setJoinWindow(registry, number, { joinFrom: from, joinUntil: until });
    const asked = async (at: number): Promise<string> =>
      office.testServer((serving) => serving.request(serving.exchange(1, ik), 'm2'), at);
    // What `why` says and what the server does are one, to the millisecond.
    expect([await asked(from - 1), await cause(from - 1)]).toEqual(['outsideJoinWindow', 'outside-join-window']);
    expect(await sentence(from - 1)).toContain(`opens at ${iso(from)}`);
    // Opened before, it still ends when it was to end.
    expect(await diagnosis(from - 1)).toMatchObject({
      action: { kind: 'wait', until: iso(from) },
      instead: { kind: 'open-order', join_until: iso(until) },
    });
    expect([await asked(from), await cause(from)]).toEqual(['M3', 'joining']);
    expect([await asked(until), await cause(until)]).toEqual(['M3', 'proof-missing']);
    expect([await asked(until + 1), await cause(until + 1)]).toEqual(['outsideJoinWindow', 'outside-join-window']);
    expect(await sentence(until + 1)).toContain(`ended at ${iso(until)}`);
    await setOrderState(registry, number, 'suspended');
    expect([await cause(), await sentence()]).toEqual(['outside-join-window', `Order ${number} of node ${ID} is suspended.`]);
    expect((await diagnosis()).action).toEqual({ kind: 'resume-order', order: number });
    await setOrderState(registry, number, 'closed');
    expect([await cause(), await sentence()]).toEqual([
      'outside-join-window',
      `Order ${number} of node ${ID} is closed for good.`,
    ]);
    expect((await diagnosis()).action).toEqual({ kind: 'enrol-again', node: ID, installer: 'Kim', lifetime_seconds: 3_600 });
  });

  it('is not said to have never been asked for when it was refused before: it comes again, or is silent by now', async () => {
    await setOrderState(registry, number, 'suspended');
    await office.testServer((serving) => serving.request(serving.exchange(1, ik), 'm2'), start);
    await setOrderState(registry, number, 'open');
    expect([await cause(), await cause(start + 20 * MINUTE), await cause(start + 20 * MINUTE + 1)]).toEqual([
      'was-refused',
      'was-refused',
      'device-silent',
    ]);
    expect((await diagnosis()).action).toEqual({ kind: 'wait', until: null });
    expect(await sentence(start + 60 * MINUTE)).toContain(`asked last at ${iso(start)}, and was refused`);
  });

  it('was refused for something that is over after it had been given its key: that key is not in question', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(1, ik), 'm2'), start);
    await setDisabled(registry, [1], true);
    await office.testServer((serving) => serving.request(serving.exchange(1, ik), 'm2'), start + 5 * MINUTE);
    await setDisabled(registry, [1], false);
    expect(await cause(start + 6 * MINUTE)).toBe('was-refused');
  });

  it('is not explained by a clock that was set right before it was asked for again', async () => {
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(1, ik, { ts: start - 100_000 }), 'm2')).toBe('clock');
    }, start);
    await office.testServer(
      async (serving) => {
        expect(await serving.request(serving.exchange(1, ik), 'm2')).toBe('M3');
      },
      start + 60 * MINUTE,
    );
    expect(await cause(start + 62 * MINUTE)).toBe('proof-missing');
    expect((await registry.nodeActivity(1))?.rejected).toBeUndefined();
  });

  it('is not explained by a clock that was set right since, as requests for other nodes show', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(1, ik, { ts: start - 100_000 }), 'm2'), start);
    expect(await cause(start)).toBe('clock');
    await office.testServer((serving) => serving.request(serving.exchange(2, ik), 'm2'), start + MINUTE);
    expect(await cause(start + MINUTE)).toBe('was-refused');
  });

  it('is not explained by the wrong controller once the right one has asked', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(1, ik, { idC: C2 }), 'm2'), start);
    await office.testServer((serving) => serving.request(serving.exchange(1, ik), 'm2'), start + 60 * MINUTE);
    expect(await cause(start + 62 * MINUTE)).toBe('proof-missing');
  });
});

describe('a node of either kind', () => {
  it('is disabled, since when and by whom', async () => {
    await setDisabled(registry, [1], true);
    const entry = office.entriesAfter(0).at(-1)!;
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(1, ik), 'm2')).toBe('disabled');
    });
    expect([await cause(), await sentence()]).toEqual(['disabled', `Node ${ID} is disabled since ${entry.at}, by user ada.`]);
    await moveNodes(registry, [1], C2);
    expect(await sentence()).toContain(`since ${entry.at}`);
    await office.prune(office.headSeq);
    expect(await sentence()).toBe(`Node ${ID} is disabled.`);
  });

  it.each([
    [-100_000, '100 s behind'],
    [100_000, '100 s ahead of'],
  ])('has a controller whose clock is %i ms off', async (skew, words) => {
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(1, ik, { ts: start + skew }), 'm2')).toBe('clock');
    }, start);
    expect(await cause()).toBe('clock');
    expect(await sentence()).toContain(`controller 00000001 is ${words} the clock of the auth-server, since ${iso(start)}`);
    expect((await registry.controllerActivity(C1))?.clockSkew).toMatchObject({ skew });
  });

  it('failed in its proof: who else holds its key?', async () => {
    await office.testServer(async (serving) => {
      for (let i = 0; i < 3; i++) {
        expect(await serving.request(serving.exchange(1, newSecret()), 'm7')).toBe('proofFailed');
        serving.now.wallMs += 1_000;
      }
    }, start);
    expect(await cause()).toBe('proof-failed');
    expect(await sentence()).toContain(`fails since ${iso(start)}`);
    await office.join(1, ik, { wall: start + 10_000 });
    expect(await cause(start + 10_000)).toBe('joined');
  });

  it('could not be committed: the store failed', async () => {
    const { env } = registry.tables;
    const transaction = env.transaction.bind(env);
    await office.testServer(async (serving) => {
      env.transaction = () => Promise.reject(Object.assign(new Error('MDB_MAP_FULL'), { code: 'ENOSPC' }));
      expect(await serving.request(serving.exchange(1, ik), 'm7')).toBe('storeFailed');
      env.transaction = transaction;
    }, start);
    expect(await cause(start, 1, { server: { runs: true, combined: false, seenAt: start } })).toBe('store');
    // Since then it has written down what its clock showed.
    expect(await cause(start, 1, { server: { runs: true, combined: false, seenAt: start + 1 } })).toBe('was-refused');
  });

  it('could not be committed: the clock was set back', async () => {
    await office.testServer(async (serving) => {
      serving.now.wallMs -= 10_000;
      expect(await serving.request(serving.exchange(1, ik), 'm7')).toBe('overloaded');
    }, start + MINUTE);
    const now = { wallMs: start + MINUTE - 10_000, monotonicMs: start + MINUTE };
    const { heldUntil } = await surroundingsOf(registry, { locked: true, holder: undefined }, now);
    expect(heldUntil).toMatchObject({ mayRelease: false });
    expect(await cause(now.wallMs, 1, { heldUntil })).toBe('clock-set-back');
    expect((await diagnosis(now.wallMs, 1, { heldUntil })).action).toEqual({ kind: 'wait', until: iso(heldUntil!.until) });
    // The five minutes are over, and the clock shows what it has shown before: a command ends that.
    expect((await diagnosis(now.wallMs, 1, { heldUntil: { ...heldUntil!, mayRelease: true } })).instead).toEqual({
      kind: 'release-clock',
    });
    expect(await cause(heldUntil!.until, 1, { heldUntil })).toBe('was-refused');
  });

  it('has no server that runs, since when', async () => {
    const server = { runs: false, combined: false, seenAt: start - MINUTE };
    expect(await cause(start, 1, { server })).toBe('server-silent');
    expect(await diagnosis(start, 1, { server })).toMatchObject({
      action: { kind: 'start-server', combined: false },
      facts: { server: { runs: false, seen_at: iso(start - MINUTE) }, nodes: { of: 'registry', joined: 0, late: 0 } },
    });
    expect((await diagnosis(start, 1, { server })).sentence).toContain(`It was last seen at ${iso(start - MINUTE)}.`);
    expect(await diagnosis(start, 1, { server: { ...server, combined: true, seenAt: undefined } })).toMatchObject({
      action: { combined: true },
      sentence: expect.stringMatching(/the registry inside does not run. It never ran\./) as string,
    });
    // What the registry forbids no server changes.
    expect(await cause(start, 9, { server })).toBe('unknown');
  });

  it('has a server that runs and writes nothing, as on a full disk: what it saw is not written either', async () => {
    const seen = (seenAt: number): Partial<Surroundings> => ({ server: { runs: true, combined: false, seenAt } });
    expect([await cause(start, 1, seen(start - 2 * MINUTE)), await cause(start, 1, seen(start - 2 * MINUTE - 1))]).toEqual([
      'controller-silent',
      'store',
    ]);
    expect(await diagnosis(start, 1, seen(start - 5 * MINUTE))).toMatchObject({
      action: { kind: 'check-disk' },
      sentence: expect.stringContaining(`has written nothing to the registry since ${iso(start - 5 * MINUTE)}`) as string,
    });
  });

  it.each([
    ['latchkey-auth-server run (process 1, since 2026-11-24T15:31:19.975Z)', true],
    ['latchkey-controller run in combined mode (process 1, since 2026-11-24T15:31:19.975Z)', true],
    // A full disk.
    [undefined, true],
    ['latchkey-auth-server restore (process 1, since 2026-11-24T15:31:19.975Z)', false],
    ['master-key rotate (process 1, since 2026-11-24T15:31:19.975Z)', false],
  ])('has a server where its folder is locked by %s: %s', async (holder, runs) => {
    const clock = { wallMs: start, monotonicMs: start };
    expect((await surroundingsOf(registry, { locked: true, holder }, clock)).server.runs).toBe(runs);
    expect((await surroundingsOf(registry, { locked: false, holder }, clock)).server.runs).toBe(false);
  });
});

describe('a node that has joined', () => {
  let psk: Secret;
  beforeEach(async () => {
    psk = await office.join(1, ik, { wall: start });
  });

  it('is well until its key should have been renewed, may renew in its grace, and then no more', async () => {
    const [due, expiry] = [start + 880 * 3_600, start + 3_600_000];
    const end = expiry + 600_000;
    expect(await causes([start, due, due + 1, expiry, expiry + 1, end, end + 1])).toEqual([
      'joined',
      'joined',
      'expiring',
      'expiring',
      'expiring',
      'expiring',
      'expired',
    ]);
    expect(await sentence(start)).toContain(`it expires at ${iso(expiry)}`);
    expect(await sentence(due + 1)).toContain(`should have renewed it before ${iso(due)}`);
    expect(await sentence(due + 1)).toContain('No other node of that controller has joined.');
    expect(await sentence(expiry + 1)).toContain(`until ${iso(end)} it still can be`);
    expect(await sentence(end + 1)).toContain(`its grace ended at ${iso(end)}`);
    // The server agrees.
    const ask = (at: number): Promise<string> =>
      office.testServer((serving) => serving.request(serving.exchange(1, psk), 'm2'), at);
    expect([await ask(end), await ask(end + 1)]).toEqual(['M3', 'expired']);
    expect(await sentence(end + 1)).toContain(`It was refused for that since ${iso(end + 1)}`);
    const renew = { kind: 'extend-grace', node: ID, grace_seconds: 86_400 };
    expect((await diagnosis(end + 1)).action).toEqual({ ...renew, asked_at: iso(end + 1) });
    expect((await diagnosis(end + 60 * MINUTE)).action).toEqual({ ...renew, asked_at: null });
    // What is named suffices, with an hour to spare.
    const later = expiry + 23 * 60 * MINUTE;
    expect([(await diagnosis(later)).action, (await diagnosis(later + 1)).action]).toMatchObject([
      { grace_seconds: 86_400 },
      { grace_seconds: 2 * 86_400 },
    ]);
    await setKeyLifetime(registry, [1], { grace: 2 * 86_400 });
    expect([await cause(later + 1), await ask(later + 1)]).toEqual(['expiring', 'M3']);
  });

  it('is as late as others of its controller, which is silent since then; another controller is not', async () => {
    const others = [newSecret(), newSecret()];
    await office.order({ 5: others[0]! });
    await office.order({ 6: others[1]! }, { idC: C2 });
    await office.join(5, others[0]!, { wall: start + 1_000 });
    await office.join(6, others[1]!, { idC: C2, wall: start + 2_000 });
    const late = start + 890 * 3_600;
    expect([await cause(late), await cause(late, 5), await cause(late, 6), await cause(late, 2)]).toEqual([
      'controller-silent',
      'controller-silent',
      'expiring',
      // Never joined, through the same controller.
      'controller-silent',
    ]);
    expect(await diagnosis(late)).toMatchObject({
      action: { kind: 'check-controller', controller: '00000001', address: '192.0.2.1:5684' },
      instead: null,
      facts: { nodes: { of: 'controller', joined: 2, late: 2 } },
    });
    expect(await sentence(late)).toContain(`controller 00000001 is silent since ${iso(start + 1_000)}`);
    expect(await sentence(late)).toContain('2 of the 2 joined nodes of that controller should have renewed by now.');
    // Also where their grace is over by now: with more of it they could ask nobody.
    const over = start + 3_600_000 + 602_001;
    expect([await cause(over), await cause(over, 6)]).toEqual(['controller-silent', 'expired']);
    expect(await cause(over, 6, { server: { runs: false, combined: false, seenAt: start } })).toBe('server-silent');
    // It was heard since, for another node: the devices are silent.
    await office.testServer((serving) => serving.request(serving.exchange(2, newSecret()), 'm2'), late - MINUTE);
    expect([await cause(late), await cause(late, 5)]).toEqual(['expiring', 'expiring']);
    expect(await diagnosis(late)).toMatchObject({ action: { kind: 'check-device' }, instead: null });
  });

  it('is the only one that is late: the device is looked at first, then the controller', async () => {
    const other = newSecret();
    await office.order({ 5: other }, { lifetime: 0 });
    await office.join(5, other, { wall: start });
    const late = start + 890 * 3_600;
    expect(await cause(late)).toBe('expiring');
    expect(await sentence(late)).toContain('It is the only one of the 2 joined nodes of that controller that is late.');
    expect([(await diagnosis(late)).action.kind, (await diagnosis(late)).instead?.kind]).toEqual([
      'check-device',
      'check-controller',
    ]);
  });

  it('has a controller with another SK_cs: it is told while it is well, and is the cause once it is late', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(1, psk, { skCs: newSecret() }), 'm2'), start + MINUTE);
    const late = start + 890 * 3_600;
    expect([await cause(start + MINUTE), await cause(late)]).toEqual(['joined', 'controller-key']);
    for (const at of [start + MINUTE, late]) {
      expect((await diagnosis(at)).action).toEqual({ kind: 'rotate-controller', controller: '00000001' });
      expect(await sentence(at)).toContain(
        `cannot renew its key: requests of its controller 00000001 do not open since ${iso(start + MINUTE)}`,
      );
    }
  });

  it('has no server that runs: it is told while it is well, and is the cause once it is late', async () => {
    const more = { server: { runs: false, combined: false, seenAt: start } };
    expect([await cause(start, 1, more), await cause(start + 890 * 3_600, 1, more)]).toEqual(['joined', 'server-silent']);
    expect(await diagnosis(start, 1, more)).toMatchObject({ action: { kind: 'start-server' } });
    expect((await diagnosis(start, 1, more)).sentence).toMatch(
      /; it expires at .*\. Node 00000001 cannot renew its key: the auth-server does not run\./,
    );
    expect((await diagnosis(start + 890 * 3_600, 1, more)).sentence).toContain('No other node of the registry has joined.');
  });

  it('was refused while it was disabled, and was enabled again: it is well, or comes again, or is silent', async () => {
    await setDisabled(registry, [1], true);
    await office.testServer((serving) => serving.request(serving.exchange(1, psk), 'm2'), start + MINUTE);
    await setDisabled(registry, [1], false);
    expect([await cause(start + 2 * MINUTE), await cause(start + 30 * MINUTE), await cause(start + 890 * 3_600)]).toEqual([
      'was-refused',
      'joined',
      'expiring',
    ]);
  });

  it('is asked for by the wrong controller, as one that never joined', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(1, psk, { idC: C2 }), 'm2'), start + MINUTE);
    expect(await cause(start + MINUTE)).toBe('wrong-controller');
  });

  it('whose key does not expire is well for good', async () => {
    const key = newSecret();
    await office.order({ 5: key }, { lifetime: 0 });
    await office.join(5, key);
    expect(await cause(start + 1e12, 5)).toBe('joined');
    expect(await sentence(start, 5)).toMatch(/; it does not expire\.$/);
  });

  it('asked and proved nothing: it may have been reset', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(1, ik), 'm2'), start + MINUTE);
    expect(await cause(start + 3 * MINUTE)).toBe('proof-missing');
    expect(await sentence(start + 3 * MINUTE)).toContain(
      `another key than [secret ${psk.fingerprint}], which the node got at ${iso(start)}`,
    );
    expect(await diagnosis(start + 3 * MINUTE)).toMatchObject({
      action: { kind: 'reset-node', initial_key: 'new' },
      instead: { kind: 'reset-node', initial_key: 'same' },
    });
    await resetNode(registry, 1, newSecret());
    expect(await cause()).toBe('never-asked');
  });

  it('was reset to the initial key it had, and waits for 35 s; what comes from before is told apart', async () => {
    await office.testServer(async (serving) => {
      const before = serving.exchange(1, ik);
      await resetNode(registry, 1, ik);
      const { reissuedAt: at } = (await registry.node(1))!;
      const given = `Node ${ID} was given an initial key at ${iso(at!)} that it had had before.`;
      expect(await causes([at! - 100_000, at!, at! + 35_000])).toEqual(['never-asked', 'held-off', 'held-off']);
      expect(await sentence(at)).toBe(`${given} Node ${ID} gets no key before ${iso(at! + 35_000)}.`);
      expect((await diagnosis(at)).action).toEqual({ kind: 'wait', until: iso(at! + 35_000) });
      expect(await cause(at! + 35_001)).toBe('never-asked');

      serving.now.wallMs = at! + 40_000;
      serving.now.monotonicMs = at! + 40_000;
      expect(await serving.request(before, 'm7')).toBe('overloaded');
      serving.now.wallMs += 1_000;
      expect(await serving.request(before, 'm7')).toBe('overloaded');
    }, start);
    expect(await cause(start + 5 * MINUTE)).toBe('held-off');
    expect(await sentence(start + 5 * MINUTE)).toContain(`that may be from before was refused, last at `);
    expect(await diagnosis(start + 5 * MINUTE)).toMatchObject({
      action: { kind: 'wait', until: null },
      instead: { kind: 'check-device' },
    });
    await office.join(1, ik, { wall: start + 10 * MINUTE });
    expect(await cause(start + 10 * MINUTE)).toBe('joined');
  });

  it('is well also when an M2 of the exchange comes once more after it', async () => {
    await office.testServer(async (serving) => {
      const exchange = serving.exchange(1, psk);
      expect([await serving.request(exchange, 'm2'), await serving.request(exchange, 'm7')]).toEqual(['M3', 'M8']);
      serving.now.wallMs += 1_000;
      expect(await serving.request(exchange, 'm2')).toBe('M3');
    }, start + MINUTE);
    expect(await cause(start + 5 * MINUTE)).toBe('joined');
  });

  it('is told apart when the registry is older than its key', async () => {
    const putBack = await office.snapshot();
    const renewed = await office.join(1, psk, { wall: Date.now() + 10 });
    office = await putBack();
    ({ registry } = office);
    const { restored } = registry;
    expect(restored!.backupAt).toBeGreaterThanOrEqual(start);
    expect(await cause()).toBe('joined');
    const after = restored!.at + MINUTE;
    await office.testServer((serving) => serving.request(serving.exchange(1, renewed), 'm2'), after);
    expect(await cause(after)).toBe('restored');
    expect(await sentence(after)).toContain(`restored at ${iso(restored!.at)} from a backup of ${iso(restored!.backupAt)}`);
    // One whose key is as old as the registry is not blamed on it: it can go on.
    await office.join(1, psk, { wall: after + MINUTE });
    expect(await cause(after + MINUTE)).toBe('joined');
    await resetNode(registry, 1, newSecret());
    expect(await cause(after + 2 * MINUTE)).not.toBe('restored');
  });
});

describe('the key in a device, by its fingerprint,', () => {
  const held = (deviceKey: Secret): Promise<Diagnosis> => diagnosis(start + 5 * MINUTE, 1, { deviceKey: deviceKey.fingerprint });
  const told = (deviceKey: Secret): Promise<string> => cause(start + 5 * MINUTE, 1, { deviceKey: deviceKey.fingerprint });

  it('is the initial one, the one that the registry has, one that the node had, or another', async ({ skip }) => {
    const first = await office.join(1, ik, { wall: start });
    const second = await office.join(1, first, { wall: start + MINUTE });
    skip(new Set([ik, first, second].map(({ fingerprint }) => fingerprint)).size < 3, 'two of the keys have one fingerprint');
    const other = Array.from({ length: 64 }, newSecret).find(
      ({ fingerprint }) => ![ik, first, second].some((key) => key.fingerprint === fingerprint),
    )!;
    await office.testServer((serving) => serving.request(serving.exchange(1, other), 'm2'), start + 2 * MINUTE);
    expect(await Promise.all([ik, second, first, other].map(told))).toEqual([
      'device-has-initial-key',
      'device-has-this-key',
      'device-has-former-key',
      'device-has-other-key',
    ]);
    const found = await Promise.all([ik, second, first, other].map((key) => held(key)));
    expect(found.map(({ action, facts }) => [action.kind, facts.device_key])).toEqual([
      ['reset-node', { fingerprint: ik.fingerprint, is: 'initial', since: null, until: iso(start) }],
      ['check-way-back', { fingerprint: second.fingerprint, is: 'current', since: null, until: null }],
      ['reset-node', { fingerprint: first.fingerprint, is: 'former', since: iso(start), until: iso(start + MINUTE) }],
      ['reset-node', { fingerprint: other.fingerprint, is: 'other', since: null, until: null }],
    ]);
    expect((await held(first)).sentence).toContain(
      `which node 00000001 had until ${iso(start + MINUTE)}; the registry has [secret ${second.fingerprint}]`,
    );
    // A device that holds what the registry has, and need not renew, is well.
    await office.join(1, second, { wall: start + 3 * MINUTE });
  });

  it('of a node that is well and holds what the registry has changes nothing', async () => {
    const psk = await office.join(1, ik, { wall: start });
    expect([await told(psk), await told(ik)]).toEqual(['joined', 'device-has-initial-key']);
  });

  it('of a node that never joined is the one that the registry has, or another', async () => {
    await office.testServer((serving) => serving.request(serving.exchange(1, ik), 'm2'), start);
    expect(await told(ik)).toBe('device-has-this-key');
    await resetNode(registry, 1, newSecret());
    expect(await told(ik)).toBe('device-has-other-key');
    expect((await held(ik)).sentence).toContain(', an initial key. It was installed from another manifest');
  });

  it('of a registry that was restored is newer than that', async () => {
    const psk = await office.join(1, ik, { wall: start });
    const putBack = await office.snapshot();
    const renewed = await office.join(1, psk, { wall: Date.now() + 10 });
    office = await putBack();
    ({ registry } = office);
    expect(await told(renewed)).toBe('device-has-other-key');
    expect((await held(renewed)).sentence).toContain('The registry was restored at ');
  });
});

describe('a caller that sees some orders', () => {
  it('is told the same of its nodes, whatever comes for nodes of others at their controllers', async () => {
    const before = start - 3_500_000;
    const [key, ofOther] = [newSecret(), newSecret()];
    const own = await office.order({ 3: key, 4: key, 6: newSecret() }, { sharedKey: true });
    await moveNodes(registry, [6], C2);
    await office.order({ 0x13: ofOther, 0x14: ofOther }, { installer: 'Bo', sharedKey: true });
    await moveNodes(registry, [0x14], C2);
    const [renewed] = [await office.join(3, key, { wall: before }), await office.join(4, key, { wall: before })];
    const keysOfOthers = new Map<number, Secret>();
    const renewOthers = async (wall: number): Promise<void> => {
      for (const [idI, idC] of [
        [0x13, C1],
        [0x14, C2],
      ] as const)
        keysOfOthers.set(idI, await office.join(idI, keysOfOthers.get(idI) ?? ofOther, { idC, wall }));
    };
    await renewOthers(before);
    const visibleOrders = new Set([own]);
    const told = (): Promise<Diagnosis[]> => Promise.all([3, 6].map((idI) => diagnosis(start, idI, { visibleOrders })));
    const silent = await told();
    expect(silent).toMatchObject([
      {
        cause: 'controller-silent',
        sentence:
          'Node 00000003 cannot renew its key: other nodes should have renewed theirs through its controller 00000001, too, and none that you see did.',
      },
      { cause: 'never-asked', instead: { kind: 'check-controller' } },
    ]);
    await renewOthers(start);
    expect(await told()).toEqual(silent);
    const refuse = (idI: number, held: Secret, behind: number): Promise<string> =>
      office.testServer((serving) => serving.request(serving.exchange(idI, held, { ts: start - behind }), 'm2'), start);
    expect(await refuse(0x13, keysOfOthers.get(0x13)!, 1_200_000)).toBe('clock');
    expect(await told()).toEqual(silent);
    expect(await refuse(3, renewed, 600_000)).toBe('clock');
    const [refused] = await told();
    expect(refused).toMatchObject({ cause: 'clock', sentence: expect.stringContaining('is 600 s behind') });
    expect(await refuse(0x13, keysOfOthers.get(0x13)!, 900_000)).toBe('clock');
    expect((await told())[0]).toEqual(refused);
  });
});
