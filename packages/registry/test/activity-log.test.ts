// Proves what the server writes down of what it sees: merged, seldom, bounded, settled by a join,
// and never in the way of anything.

import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises';
import type { Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import type { Registry } from '../src/registry.js';
import { ActivityLog } from '../src/activity-log.js';
import { C1, C2, newSecret, AdminFixture } from '@latchkey/test-support/admin-fixture';

let fixture: AdminFixture;
let registry: Registry;
let ik: Secret;
let log: CapturedLog;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  ({ registry } = fixture);
  ik = newSecret();
  log = new CapturedLog();
  await fixture.order({ 1: ik, 2: newSecret() });
});

function newActivityLog(writeIntervalMs?: number): ActivityLog {
  return new ActivityLog(registry.storage, log.log, writeIntervalMs);
}

/** How many write transactions the store has seen. */
function transactions(): number {
  registry.tables.refreshSnapshot();
  return (registry.tables.env.getStats() as { lastTxnId: number }).lastTxnId;
}

describe('what is seen of a node', () => {
  it('is written at once the first time, and then no sooner than the interval later, all together', async () => {
    // An hour: however busy the machine is, it does not pass while 500 are recorded.
    const activity = newActivityLog(3_600_000);
    activity.recordKeyRequest(1, C1, 1_000, true);
    while ((await registry.nodeActivity(1)) === undefined) {
      await pause(5);
      registry.tables.refreshSnapshot();
    }
    const before = transactions();
    for (let i = 1; i <= 500; i++) {
      activity.recordKeyRequest(1, C1, 1_000 + i, true);
      activity.recordRejection(2, C2, 'notAssigned', 2_000 + i);
      activity.recordControllerSeen(C1, 1_000 + i, 'c80b');
      if (i % 100 === 0) await pause(1);
    }
    expect(transactions()).toBe(before);
    expect(await registry.nodeActivity(1)).toEqual({ keyRequested: { since: 1_000, at: 1_000, count: 1, by: C1 } });
    await activity.close();
    registry.tables.refreshSnapshot();
    expect(transactions()).toBe(before + 1);
    expect(await registry.nodeActivity(1)).toEqual({ keyRequested: { since: 1_000, at: 1_500, count: 501, by: C1 } });
    expect(await registry.nodeActivity(2)).toEqual({
      rejected: { since: 2_001, at: 2_500, count: 500, refusal: 'notAssigned', by: C2 },
    });
    expect(await registry.controllerActivity(C1)).toEqual({ lastSeen: { since: 1_001, at: 1_500, count: 500, key: 'c80b' } });
  });

  it('is written by itself, without anything being closed', async () => {
    const activity = newActivityLog();
    activity.recordKeyRequest(1, C1, 1, true);
    await pause(20);
    activity.recordKeyRequest(1, C1, 2, true);
    await expect
      .poll(async () => (registry.tables.refreshSnapshot(), (await registry.nodeActivity(1))?.keyRequested?.count), {
        timeout: 60_000,
      })
      .toBe(2);
    await activity.close();
  });

  it('begins anew when it is refused for something else, or another controller asks', async () => {
    const one = newActivityLog();
    one.recordRejection(1, C2, 'notAssigned', 10);
    one.recordRejection(1, C2, 'notAssigned', 20);
    await one.close();
    const two = newActivityLog();
    two.recordRejection(1, C1, 'clock', 30, -90_000);
    two.recordRejection(1, C1, 'clock', 40, -91_000);
    await two.close();
    registry.tables.refreshSnapshot();
    expect((await registry.nodeActivity(1))?.rejected).toEqual({
      since: 30,
      at: 40,
      count: 2,
      refusal: 'clock',
      by: C1,
      skew: -91_000,
    });
  });

  it('begins anew when it is refused again after it was given its key, or the clock is off to the other side', async () => {
    const refuse = async (...skews: readonly [at: number, skew: number][]): Promise<void> => {
      const activity = newActivityLog();
      for (const [at, skew] of skews) activity.recordRejection(1, C1, 'clock', at, skew);
      await activity.close();
      registry.tables.refreshSnapshot();
    };
    await refuse([10, -90_000], [20, -90_000]);
    await refuse([30, 300_000]);
    expect((await registry.nodeActivity(1))?.rejected).toMatchObject({ since: 30, at: 30, count: 1, skew: 300_000 });
    await refuse([40, 300_000], [50, -90_000], [60, -90_000]);
    expect((await registry.nodeActivity(1))?.rejected).toMatchObject({ since: 50, at: 60, count: 2 });
    const activity = newActivityLog();
    activity.recordKeyRequest(1, C1, 70, true);
    await activity.close();
    registry.tables.refreshSnapshot();
    expect(await registry.nodeActivity(1)).toEqual({ keyRequested: { since: 70, at: 70, count: 1, by: C1 } });
    await refuse([80, -90_000]);
    expect((await registry.nodeActivity(1))?.rejected).toMatchObject({ since: 80, count: 1 });
  });

  it('is still a proof that failed when the key is given out again', async () => {
    const activity = newActivityLog();
    activity.recordRejection(1, C1, 'proofFailed', 10);
    activity.recordKeyRequest(1, C1, 20, true);
    await activity.close();
    const later = newActivityLog();
    later.recordKeyRequest(1, C1, 30, true);
    later.recordRejection(1, C1, 'proofFailed', 40);
    await later.close();
    registry.tables.refreshSnapshot();
    expect((await registry.nodeActivity(1))?.rejected).toMatchObject({ since: 10, at: 40, count: 2 });
  });

  it('is settled by a join: what is seen after it begins anew', async () => {
    const now = Date.now();
    await fixture.testServer((server) => server.request(server.exchange(1, newSecret()), 'm7'), now);
    expect((await registry.nodeActivity(1))?.rejected).toMatchObject({ refusal: 'proofFailed', count: 1 });
    const psk = await fixture.join(1, ik, { wall: now + 1_000 });
    await fixture.testServer(async (server) => {
      await server.request(server.exchange(1, psk), 'm2');
      await server.request(server.exchange(1, newSecret()), 'm7');
    }, now + 2_000);
    const { keyRequested, rejected } = (await registry.nodeActivity(1))!;
    expect(keyRequested).toMatchObject({ since: now + 2_000, count: 1 });
    expect(rejected).toMatchObject({ since: now + 2_000, count: 1 });
  });

  it('is not written where the node proved itself before there was time to', async () => {
    // What is seen is written after 100 ms: where a busy machine takes that long for a join,
    // another node joins.
    let idI = 100;
    for (let took = Infinity; took > 50;) {
      idI += 1;
      const key = newSecret();
      await fixture.order({ [idI]: key });
      // Timers count from the beginning of a turn.
      await turn();
      const since = performance.now();
      await fixture.join(idI, key);
      took = performance.now() - since;
    }
    expect((await registry.nodeActivity(idI))?.keyRequested).toBeUndefined();
    expect((await registry.node(idI))?.seenBy).toEqual([C1]);
  });

  it('tells who was given its initial key, and not who was given its own', async () => {
    await fixture.testServer((server) => server.request(server.exchange(1, ik), 'm2'));
    expect((await registry.node(1))?.seenBy).toEqual([C1]);
    const { entry } = (await registry.node(1))!;
    const psk = await fixture.join(1, ik);
    const activity = newActivityLog();
    activity.recordKeyRequest(1, C2, Date.now(), true);
    await activity.close();
    expect(await registry.node(1)).toMatchObject({ seenBy: [C1], initial: false });
    expect((await registry.node(1))?.key.toHex()).toBe(psk.toHex());
    expect(entry).toBe(0);
  });

  it('does not stand in the way of a commit that was judged before it was written', async () => {
    const judged = (await registry.node(1))!;
    await fixture.testServer((server) => server.request(server.exchange(1, ik), 'm2'));
    const commit = { idC: C1, tid: 5n, ts: Date.now(), nidI: new Uint8Array(18), lifetime: 1 };
    expect(await registry.commit(judged, newSecret(), commit, Date.now, () => true)).toBe('committed');
  });

  it('leaves no entry in the audit log', async () => {
    const { headSeq } = fixture;
    await fixture.testServer(async (server) => {
      await server.request(server.exchange(1, ik), 'm2');
      await server.request(server.exchange(9, ik), 'm2');
      await server.request(server.exchange(1, ik, { idC: C2 }), 'm2');
    });
    expect(fixture.headSeq).toBe(headSeq);
  });
});

describe('what is seen of a controller', () => {
  /** One after the other, each written before the next if `apart`. */
  async function see(apart: boolean, ...events: readonly ((activity: ActivityLog) => void)[]): Promise<void> {
    let activity = newActivityLog();
    for (const event of events) {
      event(activity);
      if (!apart) continue;
      await activity.close();
      activity = newActivityLog();
    }
    await activity.close();
    registry.tables.refreshSnapshot();
  }

  // It said "clock 300 s off" long after the clock was put right, and since when it had been off to
  // the other side.
  it.each([false, true])(
    'is no clock that was put right, nor since when it was off to the other side; each written: %s',
    async (apart) => {
      const off = (at: number, skew: number) => (activity: ActivityLog) => activity.recordClockSkew(C1, skew, at);
      const right = (activity: ActivityLog): void => activity.timely(C1);
      await see(apart, off(10, 300_000), off(20, 301_000));
      expect((await registry.controllerActivity(C1))?.clockSkew).toEqual({ since: 10, at: 20, count: 2, skew: 301_000 });
      await see(apart, off(30, -300_000), off(40, -300_000));
      expect((await registry.controllerActivity(C1))?.clockSkew).toEqual({ since: 30, at: 40, count: 2, skew: -300_000 });
      await see(apart, right);
      expect((await registry.controllerActivity(C1))?.clockSkew).toBeUndefined();
      await see(apart, off(50, -300_000), right, off(60, -300_000), off(70, -300_000));
      expect((await registry.controllerActivity(C1))?.clockSkew).toEqual({ since: 60, at: 70, count: 2, skew: -300_000 });
    },
  );

  it.each([false, true])(
    'is no SK_cs that was put right, nor since when it was another before that; each written: %s',
    async (apart) => {
      const [opens, not] = [
        (at: number) => (seen: ActivityLog) => seen.recordControllerSeen(C1, at, 'c80b'),
        (at: number) => (seen: ActivityLog) => seen.recordAuthenticationFailure(C1, at),
      ];
      await see(apart, not(10), not(20));
      expect((await registry.controllerActivity(C1))?.authenticationFailed).toEqual({ since: 10, at: 20, count: 2 });
      await see(apart, opens(30));
      expect((await registry.controllerActivity(C1))?.authenticationFailed).toBeUndefined();
      await see(apart, not(40), opens(50), not(60));
      expect(await registry.controllerActivity(C1)).toEqual({
        lastSeen: { since: 30, at: 50, count: 2, key: 'c80b' },
        authenticationFailed: { since: 60, at: 60, count: 1 },
      });
    },
  );

  it.each([false, true])('is counted anew with another SK_cs; each written: %s', async (apart) => {
    const opens =
      (at: number, key: string) =>
      (seen: ActivityLog): void =>
        seen.recordControllerSeen(C1, at, key);
    await see(apart, opens(10, 'c80b'), opens(20, 'c80b'), opens(30, '91ee'), opens(40, '91ee'));
    expect(await registry.controllerActivity(C1)).toEqual({ lastSeen: { since: 30, at: 40, count: 2, key: '91ee' } });
    // The clock was set back.
    await see(apart, opens(25, '77c0'));
    expect(await registry.controllerActivity(C1)).toEqual({ lastSeen: { since: 25, at: 25, count: 1, key: '77c0' } });
  });

  it('is a clock that is right once a request is in time, whatever is decided of it', async () => {
    const ask = (ts: number, idI: number): Promise<string> =>
      fixture.testServer((serving) => serving.request(serving.exchange(idI, ik, { ts }), 'm2'), 1_000_000);
    expect(await ask(1_300_000, 1)).toBe('clock');
    expect((await registry.controllerActivity(C1))?.clockSkew).toMatchObject({ skew: 300_000 });
    expect(await ask(1_000_000, 9)).toBe('unknownNode');
    expect((await registry.controllerActivity(C1))?.clockSkew).toBeUndefined();
  });
});

describe('what is seen is bounded', () => {
  const rows = (): number => {
    registry.tables.refreshSnapshot();
    return registry.tables.nodeActivity.getCount() + registry.tables.unknownNodeActivity.getCount();
  };

  it('to the nodes there are and 1,024 strangers, of whom the latest can be asked about', async () => {
    for (let round = 0; round < 4; round++) {
      const seen = newActivityLog();
      seen.recordKeyRequest(1, C1, 5, true);
      for (let i = 0; i < 700; i++) seen.recordRejection(10_000 + 1_000 * round + i, C1, 'unknownNode', round);
      await seen.close();
      expect(rows()).toBeLessThanOrEqual(2 + 1_024);
    }
    expect(await registry.nodeActivity(1)).toMatchObject({ keyRequested: { by: C1, count: 4 } });
    const last = newActivityLog();
    last.recordRejection(99_999, C1, 'unknownNode', 77);
    await last.close();
    registry.tables.refreshSnapshot();
    expect(await registry.nodeActivity(99_999)).toMatchObject({ rejected: { at: 77 } });
  });

  it('to 4,096 at a time: what is too much is not noted, and the rest is', async () => {
    const ids = Array.from({ length: 5_000 }, (_, i) => i + 10);
    await fixture.order(Object.fromEntries(ids.map((id) => [id, ik])));
    const seen = newActivityLog();
    for (const id of ids) seen.recordRejection(id, C1, 'disabled', 1);
    await seen.close();
    expect(rows()).toBe(4_096);
    expect([await registry.nodeActivity(10), await registry.nodeActivity(5_009)].map((row) => row?.rejected?.count)).toEqual([
      1,
      undefined,
    ]);
    const next = newActivityLog();
    next.recordRejection(5_009, C1, 'disabled', 2);
    await next.close();
    expect(rows()).toBe(4_097);
  });

  it('also for nodes that are removed before it is written: they count as strangers', async () => {
    const seen = newActivityLog();
    seen.recordKeyRequest(7_777, C1, 1, true);
    await seen.close();
    registry.tables.refreshSnapshot();
    expect([registry.tables.nodeActivity.getCount(), registry.tables.unknownNodeActivity.getCount()]).toEqual([0, 1]);
  });

  it('to 16 controllers an initial key', async () => {
    const seen = newActivityLog();
    for (let idC = 1; idC <= 30; idC++) {
      const one = newActivityLog();
      one.recordKeyRequest(1, idC, idC, true);
      await one.close();
    }
    await seen.close();
    expect((await registry.node(1))?.seenBy).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  });
});

describe('a write that fails', () => {
  it('is told of and lost, and the next one is written', async () => {
    const { env } = registry.tables;
    const transaction = env.transaction.bind(env);
    const full = Object.assign(new Error('MDB_MAP_FULL: no space left on device'), { code: 'ENOSPC' });
    env.transaction = () => Promise.reject(full);
    const seen = newActivityLog();
    seen.recordKeyRequest(1, C1, 1, true);
    seen.recordRejection(2, C1, 'disabled', 1);
    const line = await log.until(({ level }) => level === 'warn');
    expect(line.msg).toMatch(/: what was seen of 2 nodes is lost$/);
    env.transaction = transaction;
    seen.recordKeyRequest(1, C1, 2, true);
    await seen.close();
    registry.tables.refreshSnapshot();
    expect(await registry.nodeActivity(1)).toEqual({ keyRequested: { since: 2, at: 2, count: 1, by: C1 } });
  });

  it('on a store that is closed ends nothing', async () => {
    const other = await fixture.reopen();
    const seen = new ActivityLog(other.storage, log.log);
    await other.close();
    seen.recordKeyRequest(1, C1, 1, true);
    await seen.close();
    expect(log.lines.map(({ level, msg }) => [level, msg])).toEqual([
      ['warn', expect.stringMatching(/: what was seen of 1 nodes is lost$/)],
    ]);
  });

  it('after it was closed ends nothing either', async () => {
    const seen = newActivityLog();
    await seen.close();
    seen.recordKeyRequest(1, C1, 1, true);
    seen.recordControllerSeen(C1, 1, 'c80b');
    await seen.close();
    registry.tables.refreshSnapshot();
    expect(await registry.nodeActivity(1)).toBeDefined();
  });
});
