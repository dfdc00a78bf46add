// Proves that `why` names each cause for what the server really saw, and nothing that is over or not so.

import { formatId, type Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { moveNodes, removeNodes, resetNode, setDisabled, setJoinWindow, setOrderState } from '../src/changes.js';
import type { Registry } from '../src/registry.js';
import { why } from '../src/why.js';
import { C1, C2, drawn, Office, STRANGE } from './administration.js';

const ID = '00000001';
const MINUTE = 60_000;
let office: Office;
let registry: Registry;
let ik: Secret;
let number: number;
/** When the test began; the servers' clocks go by it. */
let start: number;

beforeEach(async () => {
  office = await Office.open();
  ({ registry } = office);
  ik = drawn();
  number = await office.order({ 1: ik, 2: drawn() });
  start = Date.now();
});

/** The cause, having looked at both sentences: they are for people. */
function cause(at: number = Date.now(), idI = 1): string {
  registry.tables.seeLatest();
  const found = why(registry, idI, at);
  expect(found.sentence).toMatch(/^[A-Z].*\.$/);
  expect(found.sentence).toContain(formatId(idI));
  expect(found.next).not.toBe('');
  expect(`${found.sentence}${found.next}`).not.toMatch(/undefined|NaN|null|\[object|[0-9a-f]{16}/);
  return found.cause;
}

function sentence(at: number = Date.now(), idI = 1): string {
  return why(registry, idI, at).sentence;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}

describe('a node that is not in the registry', () => {
  it('is unknown, and whoever asked for it is named', async () => {
    expect(cause(start, 9)).toBe('unknown');
    expect(sentence(start, 9)).toBe('Node 00000009 is not in the registry, and no controller asked for it.');
    await office.serving(async (serving) => {
      expect(await serving.ask(serving.exchange(9, drawn(), { idC: C2 }), 'm2')).toBe('unknownNode');
    }, start);
    expect(sentence(start, 9)).toBe(
      `Node 00000009 is not in the registry, but controller 00000002 asked for it, last at ${iso(start)}.`,
    );
    await removeNodes(registry, [1]);
    expect(cause()).toBe('unknown');
  });
});

describe('a node that never joined', () => {
  it('has a controller that was never heard', () => {
    expect(cause()).toBe('controller-silent');
    // It may be up: it sends nothing before a node asks it.
    expect(why(registry, 1, start).next).toMatch(/^Look at the device first: .* Then at the controller: /);
  });

  it('has a controller with another SK_cs, until that is put right', async () => {
    await office.serving(async (serving) => {
      expect(await serving.ask(serving.exchange(2, drawn(), { skCs: drawn() }), 'm2')).toBe('4.01');
    }, start);
    expect(cause()).toBe('controller-key');
    expect(sentence()).toContain(`do not open since ${iso(start)}`);
    await office.serving((serving) => serving.ask(serving.exchange(2, drawn()), 'm2'), start + MINUTE);
    expect(cause(start + MINUTE)).toBe('never-asked');
  });

  it('was never asked for, by a controller that was heard', async () => {
    await office.serving((serving) => serving.ask(serving.exchange(2, drawn()), 'm2'), start);
    expect(cause()).toBe('never-asked');
    expect(sentence()).toContain(`its controller 00000001 was heard last at ${iso(start)}`);
  });

  it('is joining for a minute, and then its proof is missing', async () => {
    await office.serving(async (serving) => {
      await serving.ask(serving.exchange(1, drawn()), 'm2');
      serving.now.wall += 10_000;
      await serving.ask(serving.exchange(1, drawn()), 'm2');
    }, start);
    expect([cause(start + 10_000), cause(start + MINUTE - 1), cause(start + MINUTE)]).toEqual([
      'joining',
      'joining',
      'proof-missing',
    ]);
    expect(sentence(start + MINUTE)).toContain(`2 times since ${iso(start)}`);
    expect(why(registry, 1, start + MINUTE).next).toContain('Compare the initial key in the device with the manifest');
  });

  it('is asked for by the wrong controller, until it is moved there', async () => {
    await office.serving(async (serving) => {
      expect(await serving.ask(serving.exchange(1, ik, { idC: C2 }), 'm2')).toBe('notAssigned');
    }, start);
    expect(cause()).toBe('wrong-controller');
    expect(sentence()).toBe(`Controller 00000002 asked for node ${ID}, which is assigned to 00000001, last at ${iso(start)}.`);
    await moveNodes(registry, [1], C2);
    expect(cause()).not.toBe('wrong-controller');
    // A controller the registry does not have is nobody.
    await moveNodes(registry, [1], C1);
    await office.serving(async (serving) => {
      expect(await serving.ask(serving.exchange(2, ik, { idC: STRANGE }), 'm2')).toBe('4.01');
    });
    expect(cause(start, 2)).toBe('controller-silent');
  });

  it('is kept out by the window of its order, told apart from an order that is shut or closed', async () => {
    const [from, until] = [start + MINUTE, start + 2 * MINUTE];
    await setJoinWindow(registry, number, { joinFrom: from, joinUntil: until });
    const asked = async (at: number): Promise<string> =>
      office.serving((serving) => serving.ask(serving.exchange(1, ik), 'm2'), at);
    // What `why` says and what the server does are one, to the millisecond.
    expect([await asked(from - 1), cause(from - 1)]).toEqual(['windowShut', 'window-shut']);
    expect(sentence(from - 1)).toContain(`opens at ${iso(from)}`);
    expect([await asked(from), cause(from)]).toEqual(['M3', 'joining']);
    expect([await asked(until), cause(until)]).toEqual(['M3', 'proof-missing']);
    expect([await asked(until + 1), cause(until + 1)]).toEqual(['windowShut', 'window-shut']);
    expect(sentence(until + 1)).toContain(`ended at ${iso(until)}`);
    await setOrderState(registry, number, 'shut');
    expect([cause(), sentence()]).toEqual(['window-shut', `Order ${number} of node ${ID} is shut.`]);
    expect(why(registry, 1, start).next).toBe(`latchkey-auth-server order open ${number}`);
    await setOrderState(registry, number, 'closed');
    expect([cause(), sentence()]).toEqual(['window-shut', `Order ${number} of node ${ID} is closed for good.`]);
    expect(why(registry, 1, start).next).toContain('node remove 00000001, then import it');
  });

  it('is not said to have never been asked for when it was refused before', async () => {
    await setOrderState(registry, number, 'shut');
    await office.serving((serving) => serving.ask(serving.exchange(1, ik), 'm2'), start);
    await setOrderState(registry, number, 'open');
    expect(cause()).not.toBe('never-asked');
  });

  it('is not explained by a clock that was set right before it was asked for again', async () => {
    await office.serving(async (serving) => {
      expect(await serving.ask(serving.exchange(1, ik, { ts: start - 100_000 }), 'm2')).toBe('clock');
    }, start);
    await office.serving(
      async (serving) => {
        expect(await serving.ask(serving.exchange(1, ik), 'm2')).toBe('M3');
      },
      start + 60 * MINUTE,
    );
    expect(cause(start + 62 * MINUTE)).toBe('proof-missing');
  });

  it('is not explained by the wrong controller once the right one has asked', async () => {
    await office.serving((serving) => serving.ask(serving.exchange(1, ik, { idC: C2 }), 'm2'), start);
    await office.serving((serving) => serving.ask(serving.exchange(1, ik), 'm2'), start + 60 * MINUTE);
    expect(cause(start + 62 * MINUTE)).toBe('proof-missing');
  });
});

describe('a node of either kind', () => {
  it('is disabled, since when and by whom', async () => {
    await setDisabled(registry, [1], true);
    const entry = office.entriesAfter(0).at(-1)!;
    await office.serving(async (serving) => {
      expect(await serving.ask(serving.exchange(1, ik), 'm2')).toBe('disabled');
    });
    expect([cause(), sentence()]).toEqual(['disabled', `Node ${ID} is disabled since ${entry.at}, by user ada.`]);
    await moveNodes(registry, [1], C2);
    expect(sentence()).toContain(`since ${entry.at}`);
    await office.prune(office.seq);
    expect(sentence()).toBe(`Node ${ID} is disabled.`);
  });

  it.each([
    [-100_000, 'by 100 s, behind'],
    [100_000, 'by 100 s, ahead'],
  ])('has a controller whose clock is %i ms off', async (skew, words) => {
    await office.serving(async (serving) => {
      expect(await serving.ask(serving.exchange(1, ik, { ts: start + skew }), 'm2')).toBe('clock');
    }, start);
    expect(cause()).toBe('clock');
    expect(sentence()).toContain(`differs from this server’s ${words}, since ${iso(start)}`);
    expect(registry.sightingOfController(C1)?.skewed).toMatchObject({ skew });
  });

  it('failed in its proof: who else holds its key?', async () => {
    await office.serving(async (serving) => {
      for (let i = 0; i < 3; i++) {
        expect(await serving.ask(serving.exchange(1, drawn()), 'm7')).toBe('proofFailed');
        serving.now.wall += 1_000;
      }
    }, start);
    expect(cause()).toBe('proof-failed');
    expect(sentence()).toContain(`fails since ${iso(start)}`);
    await office.join(1, ik, { wall: start + 10_000 });
    expect(cause(start + 10_000)).toBe('joined');
  });

  it('could not be committed: the store failed', async () => {
    const { env } = registry.tables;
    const transaction = env.transaction.bind(env);
    await office.serving(async (serving) => {
      env.transaction = () => Promise.reject(Object.assign(new Error('MDB_MAP_FULL'), { code: 'ENOSPC' }));
      expect(await serving.ask(serving.exchange(1, ik), 'm7')).toBe('storeFailed');
      env.transaction = transaction;
    }, start);
    expect(cause()).toBe('store');
  });

  it('could not be committed: the clock was set back', async () => {
    await office.serving(async (serving) => {
      serving.now.wall -= 10_000;
      expect(await serving.ask(serving.exchange(1, ik), 'm7')).toBe('overloaded');
    }, start + MINUTE);
    expect(cause()).toBe('store');
    expect(why(registry, 1, start).next).toContain('the clock that was set back');
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
    expect([start, due, due + 1, expiry, expiry + 1, end, end + 1].map((at) => cause(at))).toEqual([
      'joined',
      'joined',
      'expiring',
      'expiring',
      'expiring',
      'expiring',
      'expired',
    ]);
    expect(sentence(start)).toContain(`it expires at ${iso(expiry)}`);
    expect(sentence(due + 1)).toContain('should have renewed it by now');
    expect(sentence(expiry + 1)).toContain(`until ${iso(end)} it still can be`);
    expect(sentence(end + 1)).toContain(`its grace ended at ${iso(end)}`);
    // The server agrees.
    const ask = (at: number): Promise<string> => office.serving((serving) => serving.ask(serving.exchange(1, psk), 'm2'), at);
    expect([await ask(end), await ask(end + 1)]).toEqual(['M3', 'expired']);
  });

  it('whose key does not expire is well for good', async () => {
    const key = drawn();
    await office.order({ 5: key }, { lifetime: 0 });
    await office.join(5, key);
    expect(cause(start + 1e12, 5)).toBe('joined');
    expect(sentence(start, 5)).toMatch(/; it does not expire\.$/);
  });

  it('asked and proved nothing: it may have been reset', async () => {
    await office.serving((serving) => serving.ask(serving.exchange(1, ik), 'm2'), start + MINUTE);
    expect(cause(start + 3 * MINUTE)).toBe('proof-missing');
    expect(why(registry, 1, start + 3 * MINUTE).next).toContain(`node reset ${ID}`);
    await resetNode(registry, 1, drawn());
    expect(cause()).toBe('never-asked');
  });

  it('was reset to the initial key it had, and waits for 35 s; what comes from before is told apart', async () => {
    await office.serving(async (serving) => {
      const before = serving.exchange(1, ik);
      await resetNode(registry, 1, ik);
      const { reissuedAt: at } = registry.node(1)!;
      const given = `Node ${ID} was given an initial key at ${iso(at!)} that it had had before.`;
      expect([at! - 100_000, at!, at! + 35_000].map((ms) => cause(ms))).toEqual(['never-asked', 'held-off', 'held-off']);
      expect(sentence(at)).toBe(`${given} Node ${ID} gets no key before ${iso(at! + 35_000)}.`);
      expect(cause(at! + 35_001)).toBe('never-asked');

      serving.now.wall = at! + 40_000;
      serving.now.steady = at! + 40_000;
      expect(await serving.ask(before, 'm7')).toBe('overloaded');
      serving.now.wall += 1_000;
      expect(await serving.ask(before, 'm7')).toBe('overloaded');
    }, start);
    expect(cause(start + 5 * MINUTE)).toBe('held-off');
    expect(sentence(start + 5 * MINUTE)).toContain(`that may be from before was refused, last at `);
    await office.join(1, ik, { wall: start + 10 * MINUTE });
    expect(cause(start + 10 * MINUTE)).toBe('joined');
  });

  it('is well also when an M2 of the exchange comes once more after it', async () => {
    await office.serving(async (serving) => {
      const exchange = serving.exchange(1, psk);
      expect([await serving.ask(exchange, 'm2'), await serving.ask(exchange, 'm7')]).toEqual(['M3', 'M8']);
      serving.now.wall += 1_000;
      expect(await serving.ask(exchange, 'm2')).toBe('M3');
    }, start + MINUTE);
    expect(cause(start + 5 * MINUTE)).toBe('joined');
  });

  it('is told apart when the registry is older than its key', async () => {
    const putBack = await office.copied();
    const renewed = await office.join(1, psk, { wall: Date.now() + 10 });
    office = await putBack();
    ({ registry } = office);
    const { restored } = registry;
    expect(restored!.backupAt).toBeGreaterThanOrEqual(start);
    expect(cause()).toBe('joined');
    const after = restored!.at + MINUTE;
    await office.serving((serving) => serving.ask(serving.exchange(1, renewed), 'm2'), after);
    expect(cause(after)).toBe('restored');
    expect(sentence(after)).toContain(`restored at ${iso(restored!.at)} from a backup of ${iso(restored!.backupAt)}`);
    // One whose key is as old as the registry is not blamed on it: it can go on.
    await office.join(1, psk, { wall: after + MINUTE });
    expect(cause(after + MINUTE)).toBe('joined');
    await resetNode(registry, 1, drawn());
    expect(cause(after + 2 * MINUTE)).not.toBe('restored');
  });
});
