// Proves on real stores that a change stands in the log or did not happen, that the log holds no
// key, and that whoever changes it is found out.

import { allOf } from '@latchkey/registry';
import { createHash } from 'node:crypto';
import { Failure } from '@latchkey/runtime/failure';
import * as fc from 'fast-check';
import type { Database } from 'lmdb';
import { beforeEach, describe, expect, it } from 'vitest';
import { formatHead, type Head, parseHead } from '../src/audit-chain.js';
import { LmdbAuditTable } from '../src/lmdb/audit-table.js';
import { moveNodes, stageControllerKey, resetNode, setDisabled, setJoinWindow, setOrderState } from '@latchkey/operations';
import type { Registry } from '../src/registry.js';
import { collected } from '@latchkey/test-support/fixtures';
import { C1, C2, newSecret, AdminFixture } from '@latchkey/test-support/admin-fixture';

const LENGTH = 12;

/** What somebody sees of the log who can write to the store. */
class Tamperer {
  readonly registry: Registry;
  readonly entries: Database<Buffer, number>;
  readonly metadata: Database<unknown, string>;

  constructor(registry: Registry) {
    this.registry = registry;
    this.entries = registry.tables.env.openDB({ name: 'audit', encoding: 'binary' });
    this.metadata = registry.tables.metadata;
  }

  row(seq: number): Buffer {
    return Buffer.from(this.entries.get(seq) ?? []);
  }

  get head(): { seq: number; hash: Uint8Array; at: number } {
    return this.metadata.get('audit head') as { seq: number; hash: Uint8Array; at: number };
  }

  /** An entry with the hash it should have. */
  forged(json: string, previous: Uint8Array): Buffer {
    const hash = createHash('sha256').update(previous).update(json).digest();
    return Buffer.concat([hash, previous, Buffer.from(json)]);
  }

  /** Entry `seq` with another `actor`, its hash made right. */
  rewritten(seq: number, actor: string = 'user nobody'): Buffer {
    const row = this.row(seq);
    const entry = JSON.parse(row.toString('utf8', 64)) as object;
    return this.forged(JSON.stringify({ ...entry, actor }), row.subarray(32, 64));
  }

  async tamper(action: () => void): Promise<void> {
    await this.registry.tables.env.transaction(action);
  }

  /** Runs `action`, and puts everything back as it was afterwards. */
  async tampered<T>(action: () => void, look: () => Promise<T>): Promise<T> {
    const rows = [...this.entries.getRange()].map(({ key, value }) => [key, Buffer.from(value)] as const);
    const { head } = this;
    await this.tamper(action);
    try {
      return await look();
    } finally {
      await this.tamper(() => {
        for (const key of Array.from(this.entries.getKeys())) this.entries.removeSync(key);
        for (const [key, value] of rows) this.entries.putSync(key, value);
        this.metadata.putSync('audit head', head);
      });
    }
  }
}

function hexOf(head: Head | undefined): Head {
  if (head === undefined) throw new Error('there is no HEAD');
  return head;
}

describe('the log', () => {
  let fixture: AdminFixture;
  let tamperer: Tamperer;
  const problems = (against?: Head): Promise<string[]> => collected(fixture.registry.audit.verify(against));
  const head = async (): Promise<Head> => hexOf(await fixture.registry.audit.readHead());

  beforeEach(async () => {
    fixture = await AdminFixture.open();
    tamperer = new Tamperer(fixture.registry);
    await fixture.order({ 1: newSecret() });
    while (fixture.headSeq < LENGTH) await setDisabled(fixture.registry, [1], fixture.headSeq % 2 === 0);
  });

  it('of a healthy registry holds, also against each of its earlier HEADs', async () => {
    const heads: Head[] = [await head()];
    for (let i = 0; i < 4; i++) {
      await setDisabled(fixture.registry, [1], i % 2 === 0);
      heads.push(await head());
    }
    for (const earlier of heads) expect(await problems(earlier)).toEqual([]);
    expect(new Set(heads.map(formatHead)).size).toBe(heads.length);
    for (const earlier of heads) expect(parseHead(` ${formatHead(earlier)}\n`)).toEqual(earlier);
  });

  /** Makes the log so long in one write. */
  function grow(length: number): Promise<void> {
    const { audit } = fixture.registry.tables;
    return tamperer.tamper(() => {
      while (audit.head.seq < length) audit.append({ what: 'node disabled', node: 1 }, Date.now(), 'user ada');
    });
  }

  it('lets others have their turn, holds while entries are written, and has those at its end', async () => {
    await grow(3_000);
    let turns = 0;
    let isThrough = false;
    const count = (): void => {
      turns += 1;
      if (!isThrough) setImmediate(count);
    };
    setImmediate(count);
    const found = problems();
    const written: Promise<unknown>[] = [];
    for (let i = 0; i < 4; i++) {
      await new Promise(setImmediate);
      written.push(setDisabled(fixture.registry, [1], i % 2 === 0));
    }
    expect(await found).toEqual([]);
    isThrough = true;
    expect(turns).toBeGreaterThan(8);
    await Promise.all(written);
    // Behind what was there as the walk began.
    const late = problems();
    await new Promise(setImmediate);
    const last = fixture.headSeq;
    await tamperer.tamper(() => tamperer.entries.putSync(last, tamperer.rewritten(last)));
    expect(await late).toEqual([`entry ${last} was changed, with its hash`]);
  });

  it('ends its walk when its caller has gone', async () => {
    await grow(1_000);
    const caller = new AbortController();
    const found = collected(fixture.registry.until(caller.signal).audit.verify());
    caller.abort(new Error('gone'));
    await expect(found).rejects.toThrow('gone');
  });

  it.each([40, 700, 1_500])('holds while it is pruned through entry %i, also against a HEAD', async (last) => {
    await grow(1_500);
    const earlier = { seq: 20, hash: tamperer.row(20).toString('hex', 0, 32) };
    const [walks, found] = [
      [problems(), problems(earlier), problems({ seq: last, hash: tamperer.row(last).toString('hex', 0, 32) })],
      [] as string[][],
    ];
    await new Promise(setImmediate);
    await fixture.prune(last);
    for (const walk of walks) found.push(await walk);
    expect(found).toEqual([[], [], []]);
    expect(await problems()).toEqual([]);
  });

  it('names an entry of which any bit was changed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: LENGTH }),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        async (seq, where) => {
          const row = tamperer.row(seq);
          const bit = Math.floor(where * row.length * 8);
          row[bit >> 3]! ^= 1 << (bit & 7);
          const found = await tamperer.tampered(() => tamperer.entries.putSync(seq, row), problems);
          expect(found[0]).toMatch(new RegExp(`^entry ${seq} was changed`));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('names an entry that was rewritten, removed, swapped or put in', async () => {
    const place = fc.integer({ min: 1, max: LENGTH });
    const tampering = fc.oneof(
      place.map((seq) => ({ kind: 'rewritten', from: seq, to: seq }) as const),
      fc.tuple(place, place).map(([a, b]) => ({ kind: 'removed', from: Math.min(a, b), to: Math.max(a, b) }) as const),
      fc
        .tuple(place, place)
        .filter(([a, b]) => a !== b)
        .map(([a, b]) => ({ kind: 'swapped', from: Math.min(a, b), to: Math.max(a, b) }) as const),
      place.map((seq) => ({ kind: 'put in', from: seq, to: seq }) as const),
    );
    await fc.assert(
      fc.asyncProperty(tampering, async ({ kind, from, to }) => {
        const { entries } = tamperer;
        const wanted = {
          rewritten: `entry ${from} was changed, with its hash`,
          removed: from === to ? `entry ${from} was removed` : `entries ${from} to ${to} were removed`,
          swapped: `entry ${to} stands in the place of entry ${from}`,
          'put in': `entry ${from} stands in the place of entry ${from + 1}`,
        };
        const action = {
          rewritten: () => entries.putSync(from, tamperer.rewritten(from)),
          removed: () => {
            for (let seq = from; seq <= to; seq++) entries.removeSync(seq);
          },
          swapped: () => {
            const [one, other] = [tamperer.row(from), tamperer.row(to)];
            entries.putSync(from, other);
            entries.putSync(to, one);
          },
          'put in': () => {
            const forged = tamperer.forged(
              JSON.stringify({ seq: from, what: 'node enabled' }),
              tamperer.row(from).subarray(32, 64),
            );
            for (let seq = LENGTH; seq >= from; seq--) entries.putSync(seq + 1, tamperer.row(seq));
            entries.putSync(from, forged);
          },
        };
        const found = await tamperer.tampered(action[kind], problems);
        expect(found).toContain(wanted[kind]);
        expect(found.filter((problem) => /\b(?:NaN|undefined)\b/.test(problem))).toEqual([]);
      }),
      { numRuns: 120 },
    );
    expect(await problems()).toEqual([]);
  });

  it('names the last entry when the head row tells another hash', async () => {
    const hash = Buffer.from(tamperer.head.hash);
    hash[0]! ^= 1;
    const found = await tamperer.tampered(() => tamperer.metadata.putSync('audit head', { ...tamperer.head, hash }), problems);
    expect(found).toEqual([`entry ${LENGTH} was changed, with its hash`]);
    const ahead = await tamperer.tampered(
      () => tamperer.metadata.putSync('audit head', { ...tamperer.head, seq: LENGTH + 2 }),
      problems,
    );
    expect(ahead).toEqual([`entries ${LENGTH + 1} to ${LENGTH + 2} were removed`]);
  });

  it('names what stands behind its head, when the head row was set back', async () => {
    const [hash] = [tamperer.row(LENGTH - 3).subarray(0, 32)];
    const back = { ...tamperer.head, seq: LENGTH - 3, hash: Uint8Array.from(hash) };
    expect(await tamperer.tampered(() => tamperer.metadata.putSync('audit head', back), problems)).not.toEqual([]);
  });

  it('names its entries when the head row is gone', async () => {
    expect(await tamperer.tampered(() => tamperer.metadata.removeSync('audit head'), problems)).not.toEqual([]);
  });

  it('names an entry that was put after the last one', async () => {
    const forged = tamperer.forged(
      JSON.stringify({ seq: LENGTH + 1, what: 'node enabled' }),
      tamperer.row(LENGTH).subarray(0, 32),
    );
    expect(await tamperer.tampered(() => tamperer.entries.putSync(LENGTH + 1, forged), problems)).not.toEqual([]);
  });

  it('names an entry that was put between two others', async () => {
    const forged = tamperer.forged(JSON.stringify({ seq: 4.5, what: 'node enabled' }), tamperer.row(4).subarray(0, 32));
    expect(await tamperer.tampered(() => tamperer.entries.putSync(4.5, forged), problems)).not.toEqual([]);
  });

  it('names an entry that is JSON but none, with its hash made right', async () => {
    const forged = tamperer.forged('null', tamperer.row(5).subarray(32, 64));
    expect(await tamperer.tampered(() => tamperer.entries.putSync(5, forged), problems)).toContain(
      'entry 5 was changed, with its hash',
    );
  });

  it('that was cut off at its end with the head row made right is found against a HEAD', async () => {
    const before = await head();
    const to = LENGTH - 4;
    const cut = (): void => {
      for (let seq = to + 1; seq <= LENGTH; seq++) tamperer.entries.removeSync(seq);
      tamperer.metadata.putSync('audit head', {
        ...tamperer.head,
        seq: to,
        hash: Uint8Array.from(tamperer.row(to).subarray(0, 32)),
      });
    };
    expect(await tamperer.tampered(cut, problems)).toEqual([]);
    expect(await tamperer.tampered(cut, () => problems(before))).toEqual([
      `entry ${LENGTH}, which the HEAD names, is not there: entries were removed from the end`,
    ]);
  });

  it('that was written anew from its first entry is found against a HEAD', async () => {
    const before = await head();
    await tamperer.tamper(() => {
      for (const key of Array.from(tamperer.entries.getKeys())) tamperer.entries.removeSync(key);
      tamperer.metadata.removeSync('audit head');
      const forger = new LmdbAuditTable(tamperer.entries, tamperer.metadata, 'user nobody');
      for (let seq = 1; seq <= LENGTH + 3; seq++) forger.append({ what: 'node enabled', node: 1 }, Date.now());
    });
    expect(await problems()).toEqual([]);
    expect(await problems(before)).toEqual([`entry ${LENGTH} is not the one the HEAD names: the log was rewritten up to it`]);
  });

  it('goes on after it was pruned, and tells what it no longer can', async () => {
    const { registry } = fixture;
    const heads = [5, 6, 7].map((seq): Head => ({ seq, hash: tamperer.row(seq).toString('hex', 0, 32) }));
    await fixture.prune(6);
    await setDisabled(registry, [1], true);
    expect((await allOf(registry.audit.entryPages())).map(({ seq }) => seq)[0]).toBe(7);
    expect(await problems()).toEqual([]);
    expect(await Promise.all(heads.map(problems))).toEqual([['entry 5, which the HEAD names, was pruned'], [], []]);
    const other: Head = { seq: 6, hash: '0'.repeat(64) };
    expect(await problems(other)).toEqual(['entry 6 is not the one the HEAD names: the log was rewritten up to it']);
    expect(await tamperer.tampered(() => tamperer.entries.removeSync(7), problems)).toEqual(['entry 7 was removed']);
    expect(await tamperer.tampered(() => tamperer.entries.putSync(8, tamperer.rewritten(8)), problems)).toEqual([
      'entry 8 was changed, with its hash',
    ]);
  });

  it('is pruned of nothing by a number it does not have, and wholly but for the entry that says so', async () => {
    const { registry } = fixture;
    await fixture.prune(LENGTH + 50);
    expect(await allOf(registry.audit.entryPages())).toHaveLength(LENGTH);
    await fixture.prune(LENGTH);
    expect((await allOf(registry.audit.entryPages())).map(({ what }) => what)).toEqual(['log pruned']);
    expect(await problems()).toEqual([]);
  });

  it('is pruned in parts, each of which leaves a log that holds, and is gone on with when interrupted', async () => {
    const { registry } = fixture;
    const last = 10_000;
    const before = await head();
    await registry.tables.write(async () => {
      while (((await registry.audit.readHead())?.seq ?? 0) <= last)
        registry.tables.audit.append({ what: 'node enabled', node: 1 }, Date.now());
    });
    const first = async (): Promise<number | undefined> => (await allOf(registry.audit.entryPages()))[0]?.seq;
    const told = async (): Promise<number[]> =>
      (await allOf(registry.audit.entryPages())).filter(({ what }) => what === 'log pruned').map(({ up_to }) => up_to ?? 0);
    const interrupted = new Error('interrupted');
    const killed = fixture.prune(last, async () => {
      expect(await problems()).toEqual([]);
      throw interrupted;
    });
    await expect(killed).rejects.toBe(interrupted);
    expect([await first(), await told()]).toEqual([4_097, [last]]);
    expect(await problems(before)).toEqual([`entry ${LENGTH}, which the HEAD names, was pruned`]);

    const starts: (number | undefined)[] = [];
    await fixture.prune(last, async () => {
      expect(await problems()).toEqual([]);
      starts.push(await first());
    });
    expect([starts, await told()]).toEqual([
      [8_193, last + 1],
      [last, last],
    ]);
  });

  it('names what was removed beyond what a pruning tells', async () => {
    await fixture.prune(6);
    await tamperer.tamper(() => {
      tamperer.metadata.putSync('audit start', { seq: 7, hash: Uint8Array.from(tamperer.row(7).subarray(0, 32)), at: 0 });
      tamperer.entries.removeSync(7);
    });
    expect(await problems()).toEqual(['entry 7 was removed, and no entry tells of a pruning']);
  });

  it('names its first entries when they were removed as if it had been pruned', async () => {
    const later = await head();
    await tamperer.tamper(() => {
      for (let seq = 1; seq <= 6; seq++) {
        if (seq === 6)
          tamperer.metadata.putSync('audit start', { seq, hash: Uint8Array.from(tamperer.row(seq).subarray(0, 32)), at: 0 });
        tamperer.entries.removeSync(seq);
      }
    });
    expect(await problems(later)).not.toEqual([]);
  });

  it('has no entry of a change that failed, and the change did not happen', async () => {
    const { registry } = fixture;
    const before = await head();
    await expect(
      registry.tables.audited({ what: 'node removed', node: 1 }, () => {
        registry.tables.nodes.removeSync(1);
        throw new Failure('in the middle');
      }),
    ).rejects.toThrow('in the middle');
    await expect(setDisabled(registry, [1, 99], fixture.headSeq % 2 === 0)).rejects.toThrow('00000063 is not in the registry');
    expect(await head()).toEqual(before);
    expect(await registry.node(1)).toBeDefined();
    expect(await problems(before)).toEqual([]);
  });

  it('is one chain when several write to it at once', async () => {
    const other = await fixture.reopen();
    await fixture.order({ 2: newSecret() });
    const before = fixture.headSeq;
    const changes = Array.from({ length: 20 }, (_, i) => [
      setDisabled(fixture.registry, [1], i % 2 === 0),
      setDisabled(other, [2], i % 2 === 0),
    ]);
    const changed = (await Promise.all(changes.flat())).reduce((sum, count) => sum + count, 0);
    expect(await problems()).toEqual([]);
    expect(fixture.headSeq - before).toBe(changed);
    const who = new Set(fixture.entriesAfter(before).map((entry) => `${entry.actor} ${entry.node}`));
    expect(who).toEqual(new Set(['user ada 00000001', 'user bo 00000002']));
    await other.close();
  });

  it('tells the life of a node latest first, with a gap where it was pruned', async () => {
    const { registry } = fixture;
    await moveNodes(registry, [1], C2);
    await setDisabled(registry, [1], true);
    const { entry } = (await registry.node(1))!;
    const life = await registry.audit.entriesOfNode(entry, 10_000);
    expect(life.slice(0, 2).map(({ what }) => what)).toEqual(expect.arrayContaining(['node moved']) as string[]);
    expect(life.map(({ seq }) => seq)).toEqual(life.map(({ seq }) => seq).toSorted((a, b) => b - a));
    expect(new Set(life.map(({ node }) => node))).toEqual(new Set(['00000001']));
    await fixture.prune(LENGTH);
    expect((await registry.audit.entriesOfNode(entry, 10_000)).every(({ seq }) => seq > LENGTH)).toBe(true);
  });
});

it('no key stands in the log, in whatever way it is written', async () => {
  const fixture = await AdminFixture.open();
  const { registry } = fixture;
  const [ik, next, again] = [newSecret(), newSecret(), newSecret()];
  const number = await fixture.order({ 1: ik });
  const psk = await fixture.join(1, ik);
  const renewed = await fixture.join(1, psk);
  await stageControllerKey(registry, C1, next);
  await registry.activateStagedKey(C1, next);
  await setJoinWindow(registry, number, { joinUntil: Date.now() + 1_000 });
  await resetNode(registry, 1, again);
  await setOrderState(registry, number, 'closed');

  const fingerprints = fixture.entriesAfter(0).flatMap(({ key, key_before: before }) => [key, before]);
  for (const key of [ik, psk, renewed, next, again]) expect(fingerprints).toContain(key.fingerprint);
  const rows = [...new Tamperer(registry).entries.getRange()].map(({ value }) => Buffer.from(value));
  expect(rows.length).toBeGreaterThan(8);
  for (const key of [ik, psk, renewed, next, again, fixture.skCs(C1), fixture.skCs(C2)]) {
    const octets = Buffer.from(key.expose());
    // Eight octets in a row are as bad as all.
    for (const part of [octets.subarray(0, 8), octets.subarray(8)]) {
      for (const form of [part, part.toString('hex'), part.toString('base64').slice(0, 10)])
        expect(rows.some((row) => row.includes(form))).toBe(false);
    }
  }
});
