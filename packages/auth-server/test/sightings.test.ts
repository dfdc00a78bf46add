// Proves what the server writes down of what it sees: merged, seldom, bounded, settled by a join, and never in the way of anything.

import { setTimeout as pause } from 'node:timers/promises';
import type { Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { CapturedLog } from '../../runtime/test/fixtures.js';
import type { Registry } from '../src/registry.js';
import { Sightings } from '../src/sightings.js';
import { C1, C2, drawn, Office } from './administration.js';

let office: Office;
let registry: Registry;
let ik: Secret;
let log: CapturedLog;

beforeEach(async () => {
  office = await Office.open();
  ({ registry } = office);
  ik = drawn();
  log = new CapturedLog();
  await office.order({ 1: ik, 2: drawn() });
});

function sightings(): Sightings {
  return new Sightings(registry.tables, log.log);
}

/** How many write transactions the store has seen. */
function transactions(): number {
  registry.tables.seeLatest();
  return (registry.tables.env.getStats() as { lastTxnId: number }).lastTxnId;
}

describe('what is seen of a node', () => {
  it('is written at once the first time, and then no sooner than a second later, all together', async () => {
    const seen = sightings();
    seen.asked(1, C1, 1_000);
    while (registry.sightingOf(1) === undefined) {
      await pause(5);
      registry.tables.seeLatest();
    }
    const before = transactions();
    for (let i = 1; i <= 500; i++) {
      seen.asked(1, C1, 1_000 + i);
      seen.refused(2, C2, 'notAssigned', 2_000 + i);
      seen.heard(C1, 1_000 + i);
      if (i % 100 === 0) await pause(1);
    }
    expect(transactions()).toBe(before);
    expect(registry.sightingOf(1)).toEqual({ asked: { since: 1_000, at: 1_000, count: 1, by: C1 } });
    await seen.close();
    registry.tables.seeLatest();
    expect(transactions()).toBe(before + 1);
    expect(registry.sightingOf(1)).toEqual({ asked: { since: 1_000, at: 1_500, count: 501, by: C1 } });
    expect(registry.sightingOf(2)).toEqual({
      refused: { since: 2_001, at: 2_500, count: 500, refusal: 'notAssigned', by: C2 },
    });
    expect(registry.sightingOfController(C1)).toEqual({ heard: { since: 1_001, at: 1_500, count: 500 } });
  });

  it('is written by itself, without anything being closed', async () => {
    const seen = sightings();
    seen.asked(1, C1, 1);
    await pause(20);
    seen.asked(1, C1, 2);
    await expect.poll(() => (registry.tables.seeLatest(), registry.sightingOf(1)?.asked?.count), { timeout: 60_000 }).toBe(2);
    await seen.close();
  });

  it('begins anew when it is refused for something else, or another controller asks', async () => {
    const one = sightings();
    one.refused(1, C2, 'notAssigned', 10);
    one.refused(1, C2, 'notAssigned', 20);
    await one.close();
    const two = sightings();
    two.refused(1, C1, 'clock', 30, -90_000);
    two.refused(1, C1, 'clock', 40, -91_000);
    await two.close();
    registry.tables.seeLatest();
    expect(registry.sightingOf(1)?.refused).toEqual({ since: 30, at: 40, count: 2, refusal: 'clock', by: C1, skew: -91_000 });
  });

  it('begins anew when it is refused again after it was given its key, or the clock is off to the other side', async () => {
    const refuse = async (...skews: readonly [at: number, skew: number][]): Promise<void> => {
      const seen = sightings();
      for (const [at, skew] of skews) seen.refused(1, C1, 'clock', at, skew);
      await seen.close();
      registry.tables.seeLatest();
    };
    await refuse([10, -90_000], [20, -90_000]);
    await refuse([30, 300_000]);
    expect(registry.sightingOf(1)?.refused).toMatchObject({ since: 30, at: 30, count: 1, skew: 300_000 });
    await refuse([40, 300_000], [50, -90_000], [60, -90_000]);
    expect(registry.sightingOf(1)?.refused).toMatchObject({ since: 50, at: 60, count: 2 });
    const seen = sightings();
    seen.asked(1, C1, 70);
    await seen.close();
    registry.tables.seeLatest();
    expect(registry.sightingOf(1)).toEqual({ asked: { since: 70, at: 70, count: 1, by: C1 } });
    await refuse([80, -90_000]);
    expect(registry.sightingOf(1)?.refused).toMatchObject({ since: 80, count: 1 });
  });

  it('is still a proof that failed when the key is given out again', async () => {
    const seen = sightings();
    seen.refused(1, C1, 'proofFailed', 10);
    seen.asked(1, C1, 20);
    await seen.close();
    const later = sightings();
    later.asked(1, C1, 30);
    later.refused(1, C1, 'proofFailed', 40);
    await later.close();
    registry.tables.seeLatest();
    expect(registry.sightingOf(1)?.refused).toMatchObject({ since: 10, at: 40, count: 2 });
  });

  it('is settled by a join: what is seen after it begins anew', async () => {
    const now = Date.now();
    await office.serving((serving) => serving.ask(serving.exchange(1, drawn()), 'm7'), now);
    expect(registry.sightingOf(1)?.refused).toMatchObject({ refusal: 'proofFailed', count: 1 });
    const psk = await office.join(1, ik, { wall: now + 1_000 });
    await office.serving(async (serving) => {
      await serving.ask(serving.exchange(1, psk), 'm2');
      await serving.ask(serving.exchange(1, drawn()), 'm7');
    }, now + 2_000);
    const { asked, refused } = registry.sightingOf(1)!;
    expect(asked).toMatchObject({ since: now + 2_000, count: 1 });
    expect(refused).toMatchObject({ since: now + 2_000, count: 1 });
  });

  it('is not written where the node proved itself before there was time to', async () => {
    await office.join(1, ik);
    expect(registry.sightingOf(1)?.asked).toBeUndefined();
    expect(registry.node(1)?.seenBy).toEqual([C1]);
  });

  it('tells who was given its initial key, and not who was given its own', async () => {
    await office.serving((serving) => serving.ask(serving.exchange(1, ik), 'm2'));
    expect(registry.node(1)?.seenBy).toEqual([C1]);
    const { entry } = registry.node(1)!;
    const psk = await office.join(1, ik);
    const seen = sightings();
    seen.asked(1, C2, Date.now());
    await seen.close();
    expect(registry.node(1)).toMatchObject({ seenBy: [C1], initial: false });
    expect(registry.node(1)?.key.toHex()).toBe(psk.toHex());
    expect(entry).toBe(0);
  });

  it('does not stand in the way of a commit that was judged before it was written', async () => {
    const judged = registry.node(1)!;
    await office.serving((serving) => serving.ask(serving.exchange(1, ik), 'm2'));
    const commit = { idC: C1, tid: 5n, ts: Date.now(), nidI: new Uint8Array(18), lifetime: 1 };
    expect(await registry.commit(judged, drawn(), commit, Date.now, () => true)).toBe('committed');
  });

  it('leaves no entry in the audit log', async () => {
    const { seq } = office;
    await office.serving(async (serving) => {
      await serving.ask(serving.exchange(1, ik), 'm2');
      await serving.ask(serving.exchange(9, ik), 'm2');
      await serving.ask(serving.exchange(1, ik, { idC: C2 }), 'm2');
    });
    expect(office.seq).toBe(seq);
  });
});

describe('what is seen of a controller', () => {
  /** One after the other, each written before the next if `apart`. */
  async function see(apart: boolean, ...events: readonly ((seen: Sightings) => void)[]): Promise<void> {
    let seen = sightings();
    for (const event of events) {
      event(seen);
      if (!apart) continue;
      await seen.close();
      seen = sightings();
    }
    await seen.close();
    registry.tables.seeLatest();
  }

  // It said "clock 300 s off" long after the clock was put right, and since when it had been off to
  // the other side.
  it.each([false, true])(
    'is no clock that was put right, nor since when it was off to the other side; each written: %s',
    async (apart) => {
      const off = (at: number, skew: number) => (seen: Sightings) => seen.skewed(C1, skew, at);
      const right = (seen: Sightings): void => seen.timely(C1);
      await see(apart, off(10, 300_000), off(20, 301_000));
      expect(registry.sightingOfController(C1)?.skewed).toEqual({ since: 10, at: 20, count: 2, skew: 301_000 });
      await see(apart, off(30, -300_000), off(40, -300_000));
      expect(registry.sightingOfController(C1)?.skewed).toEqual({ since: 30, at: 40, count: 2, skew: -300_000 });
      await see(apart, right);
      expect(registry.sightingOfController(C1)?.skewed).toBeUndefined();
      await see(apart, off(50, -300_000), right, off(60, -300_000), off(70, -300_000));
      expect(registry.sightingOfController(C1)?.skewed).toEqual({ since: 60, at: 70, count: 2, skew: -300_000 });
    },
  );

  it.each([false, true])(
    'is no SK_cs that was put right, nor since when it was another before that; each written: %s',
    async (apart) => {
      const [opens, not] = [
        (at: number) => (seen: Sightings) => seen.heard(C1, at),
        (at: number) => (seen: Sightings) => seen.unopened(C1, at),
      ];
      await see(apart, not(10), not(20));
      expect(registry.sightingOfController(C1)?.unopened).toEqual({ since: 10, at: 20, count: 2 });
      await see(apart, opens(30));
      expect(registry.sightingOfController(C1)?.unopened).toBeUndefined();
      await see(apart, not(40), opens(50), not(60));
      expect(registry.sightingOfController(C1)).toEqual({
        heard: { since: 30, at: 50, count: 2 },
        unopened: { since: 60, at: 60, count: 1 },
      });
    },
  );

  it('is a clock that is right once a request is in time, whatever is decided of it', async () => {
    const ask = (ts: number, idI: number): Promise<string> =>
      office.serving((serving) => serving.ask(serving.exchange(idI, ik, { ts }), 'm2'), 1_000_000);
    expect(await ask(1_300_000, 1)).toBe('clock');
    expect(registry.sightingOfController(C1)?.skewed).toMatchObject({ skew: 300_000 });
    expect(await ask(1_000_000, 9)).toBe('unknownNode');
    expect(registry.sightingOfController(C1)?.skewed).toBeUndefined();
  });
});

describe('what is seen is bounded', () => {
  const rows = (): number => {
    registry.tables.seeLatest();
    return registry.tables.nodeSightings.getCount() + registry.tables.strangerSightings.getCount();
  };

  it('to the nodes there are and 1,024 strangers, of whom the latest can be asked about', async () => {
    for (let round = 0; round < 4; round++) {
      const seen = sightings();
      seen.asked(1, C1, 5);
      for (let i = 0; i < 700; i++) seen.refused(10_000 + 1_000 * round + i, C1, 'unknownNode', round);
      await seen.close();
      expect(rows()).toBeLessThanOrEqual(2 + 1_024);
    }
    expect(registry.sightingOf(1)).toMatchObject({ asked: { by: C1, count: 4 } });
    const last = sightings();
    last.refused(99_999, C1, 'unknownNode', 77);
    await last.close();
    registry.tables.seeLatest();
    expect(registry.sightingOf(99_999)).toMatchObject({ refused: { at: 77 } });
  });

  it('to 4,096 at a time: what is too much is not noted, and the rest is', async () => {
    const ids = Array.from({ length: 5_000 }, (_, i) => i + 10);
    await office.order(Object.fromEntries(ids.map((id) => [id, ik])));
    const seen = sightings();
    for (const id of ids) seen.refused(id, C1, 'disabled', 1);
    await seen.close();
    expect(rows()).toBe(4_096);
    expect([registry.sightingOf(10), registry.sightingOf(5_009)].map((row) => row?.refused?.count)).toEqual([1, undefined]);
    const next = sightings();
    next.refused(5_009, C1, 'disabled', 2);
    await next.close();
    expect(rows()).toBe(4_097);
  });

  it('also for nodes that are removed before it is written: they count as strangers', async () => {
    const seen = sightings();
    seen.asked(7_777, C1, 1);
    await seen.close();
    registry.tables.seeLatest();
    expect([registry.tables.nodeSightings.getCount(), registry.tables.strangerSightings.getCount()]).toEqual([0, 1]);
  });

  it('to 16 controllers an initial key', async () => {
    const seen = sightings();
    for (let idC = 1; idC <= 30; idC++) {
      const one = sightings();
      one.asked(1, idC, idC);
      await one.close();
    }
    await seen.close();
    expect(registry.node(1)?.seenBy).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  });
});

describe('a write that fails', () => {
  it('is told of and lost, and the next one is written', async () => {
    const { env } = registry.tables;
    const transaction = env.transaction.bind(env);
    const full = Object.assign(new Error('MDB_MAP_FULL: no space left on device'), { code: 'ENOSPC' });
    env.transaction = () => Promise.reject(full);
    const seen = sightings();
    seen.asked(1, C1, 1);
    seen.refused(2, C1, 'disabled', 1);
    const line = await log.until(({ level }) => level === 'warn');
    expect(line.msg).toMatch(/: what was seen of 2 nodes is lost$/);
    env.transaction = transaction;
    seen.asked(1, C1, 2);
    await seen.close();
    registry.tables.seeLatest();
    expect(registry.sightingOf(1)).toEqual({ asked: { since: 2, at: 2, count: 1, by: C1 } });
  });

  it('on a store that is closed ends nothing', async () => {
    const other = await office.again();
    const seen = new Sightings(other.tables, log.log);
    await other.close();
    seen.asked(1, C1, 1);
    await seen.close();
    expect(log.lines.map(({ level, msg }) => [level, msg])).toEqual([
      ['warn', expect.stringMatching(/: what was seen of 1 nodes is lost$/)],
    ]);
  });

  it('after it was closed ends nothing either', async () => {
    const seen = sightings();
    await seen.close();
    seen.asked(1, C1, 1);
    seen.heard(C1, 1);
    await seen.close();
    registry.tables.seeLatest();
    expect(registry.sightingOf(1)).toBeDefined();
  });
});
