/** What an engine hands over, and takes up: for tests of every engine. */

import * as fc from 'fast-check';
import { expect } from 'vitest';
import { chainEntry, type ChainHead, EMPTY_CHAIN } from '../../src/audit-chain.js';
import type { Entry } from '../../src/audit-log.js';
import { type ContentPage, type RegistryContents, TABLE_NAMES, type TableName, type TableRows } from '../../src/contents.js';

/** All rows of a registry, by table. */
export interface Gathered {
  readonly start: ChainHead;
  readonly head: ChainHead;
  readonly tables: { readonly [T in TableName]: readonly TableRows[T][] };
}

const id = fc.integer({ min: 0, max: 0xffff_ffff });
const time = fc.integer({ min: 0, max: 4e12 });
const entryNumber = fc.integer({ min: 1, max: 2 ** 40 });
const seconds = fc.integer({ min: 0, max: 0xffff_ffff });
const octets = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((drawn) => Buffer.from(drawn));
// PostgreSQL has no text with U+0000 in it, and no registry lets one in.
const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((drawn) => !drawn.includes('\0'));
const tid = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((drawn) => drawn.toString(16).padStart(16, '0'));
const run = { since: time, at: time, count: fc.integer({ min: 1, max: 1e9 }) };
const holders = fc.record(
  { controllers: fc.uniqueArray(id, { maxLength: 4 }), andOthers: fc.constant(true as const) },
  { requiredKeys: ['controllers'] },
);
const flag = fc.constant(true as const);

const node = fc.record(
  {
    key: octets(33),
    initial: fc.boolean(),
    ik: octets(10),
    controller: id,
    order: fc.integer({ min: 1, max: 5 }),
    entry: entryNumber,
    disabled: flag,
    lifetime: seconds,
    grace: seconds,
    joinedAt: time,
    resetAt: time,
    initialKeyIssuedAt: time,
    reissuedAt: time,
    seenBy: fc.array(id, { minLength: 1, maxLength: 4 }),
    split: flag,
    half: octets(33),
    manufacturer: text,
    committed: fc.record({ idC: id, tid, ts: time, nidI: octets(18), lifetime: seconds, at: time }),
    assignedEntry: entryNumber,
    initialKeyEntry: entryNumber,
    formerHolders: holders,
  },
  { requiredKeys: ['key', 'initial', 'ik', 'controller', 'order', 'entry'] },
);
const controller = fc.record(
  {
    skCs: octets(33),
    stagedSkCs: octets(33),
    nid: fc.record({ host: fc.constantFrom('10.0.0.1', 'fe80::1'), port: fc.integer({ min: 1, max: 65_535 }) }),
    servers: fc.array(fc.record({ host: fc.constant('::1'), port: fc.integer({ min: 1, max: 65_535 }) }), { maxLength: 3 }),
    addedAt: time,
    passThrough: flag,
    switchedAt: time,
    passThroughEntry: entryNumber,
    assigning: entryNumber,
    description: fc.record({ name: text, site: text, contact: text }, { requiredKeys: [] }),
  },
  { requiredKeys: ['skCs', 'nid', 'servers', 'addedAt'] },
);
const order = fc.record(
  {
    kind: fc.constantFrom('order' as const, 'import' as const),
    state: fc.constantFrom('pending' as const, 'open' as const, 'suspended' as const, 'closed' as const),
    installer: text,
    contact: text,
    site: text,
    idC: id,
    count: fc.integer({ min: 0, max: 1e6 }),
    sharedKey: fc.boolean(),
    manufacturer: text,
    lifetime: seconds,
    grace: seconds,
    joinFrom: time,
    joinUntil: time,
    createdAt: time,
    createdEntry: entryNumber,
    entry: entryNumber,
  },
  {
    requiredKeys: ['kind', 'state', 'installer', 'count', 'sharedKey', 'lifetime', 'grace', 'createdAt', 'createdEntry', 'entry'],
  },
) as unknown as fc.Arbitrary<TableRows['orders'][1]>;
const description = fc.record(
  {
    name: text,
    site: text,
    location: text,
    tags: fc.uniqueArray(text, { minLength: 1, maxLength: 3 }),
    note: text,
    entry: entryNumber,
  },
  { requiredKeys: ['entry'] },
);
const retired = fc.record(
  {
    node: id,
    ik: octets(10),
    order: fc.integer({ min: 1, max: 5 }),
    issuedAt: time,
    retiredAt: time,
    joined: fc.boolean(),
    manufacturer: text,
    seenBy: fc.array(id, { maxLength: 3 }),
    holders,
    issueEntry: entryNumber,
  },
  { requiredKeys: ['node', 'ik', 'order', 'issuedAt', 'retiredAt', 'joined', 'seenBy', 'holders', 'issueEntry'] },
);
const activity = fc.record(
  {
    keyRequested: fc.record({ ...run, by: id }),
    rejected: fc.record({ ...run, refusal: fc.constant('clock' as const), by: id, skew: fc.integer() }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<TableRows['nodeActivity'][1]>;
const controllerActivity = fc.record(
  { lastSeen: fc.record({ ...run, key: text }), clockSkew: fc.record({ ...run, skew: fc.integer() }) },
  { requiredKeys: [] },
);

const rowsOf = <R>(row: fc.Arbitrary<R>, maxLength = 6): fc.Arbitrary<(readonly [number, R])[]> =>
  fc.uniqueArray(fc.tuple(id, row), { maxLength, selector: ([key]) => key }).map((rows) => rows.toSorted(([a], [b]) => a - b));

const pairsOf = <R>(
  first: fc.Arbitrary<number>,
  row: fc.Arbitrary<R>,
): fc.Arbitrary<(readonly [readonly [number, number], R])[]> =>
  fc
    .uniqueArray(fc.tuple(fc.tuple(first, id), row), { maxLength: 4, selector: ([[a, b]]) => `${a} ${b}` })
    .map((rows) => rows.toSorted(([[a, b]], [[c, d]]) => a - c || b - d));

/** Entries after those that were pruned. */
const chain = fc
  .tuple(fc.integer({ min: 0, max: 1e6 }), octets(32), fc.array(fc.tuple(text, time), { maxLength: 8 }))
  .map(([seq, hash, events]): Pick<Gathered, 'start' | 'head'> & { readonly entries: readonly Entry[] } => {
    const start = seq === 0 ? EMPTY_CHAIN : { seq, hash, at: 0 };
    const entries: Entry[] = [];
    let head: ChainHead = start;
    for (const [note, at] of events) {
      const entry = chainEntry(head, { what: 'node described', note }, 'test', at);
      head = entry.head;
      entries.push([head.seq, entry.octets]);
    }
    return { start, head, entries };
  });

/** Rows of all kinds, as engines keep them; no key in them opens. */
export const registryContents: fc.Arbitrary<Gathered> = fc
  .record({
    chain,
    controllers: rowsOf(controller),
    orders: rowsOf(order),
    nodes: rowsOf(node, 12),
    nodeDescriptions: rowsOf(description),
    recentInitialKeys: rowsOf(
      fc.array(fc.record({ ik: fc.oneof(octets(8), fc.constant(Buffer.alloc(0))), until: time }), { minLength: 1, maxLength: 3 }),
    ),
    retiredInitialKeys: pairsOf(entryNumber, retired),
    formerAssignments: pairsOf(id, fc.record({ until: entryNumber, tid }, { requiredKeys: [] })),
    nodeActivity: rowsOf(activity),
    unknownNodeActivity: rowsOf(activity),
    controllerActivity: rowsOf(controllerActivity),
    transactionKey: octets(33),
    wall: time,
  })
  .map(({ chain: { start, head, entries }, transactionKey, wall, ...tables }) => ({
    start,
    head,
    tables: {
      ...(tables as unknown as Gathered['tables']),
      metadata: [
        ['last wall clock', wall],
        ['schema', 1],
        ['transaction key', transactionKey],
      ],
      entries,
    },
  }));

/** Hands them over in pages of this many rows. */
export function contentsOf({ start, head, tables }: Gathered, rowsPerPage: number): RegistryContents {
  return { start, head, pages: pages(), close: () => Promise.resolve() };

  async function* pages(): AsyncGenerator<ContentPage> {
    for (const table of TABLE_NAMES)
      for (let at = 0; at < tables[table].length; at += rowsPerPage)
        yield { table, rows: tables[table].slice(at, at + rowsPerPage) } as ContentPage;
  }
}

/** Reads to the end, and closes. */
export async function gather(contents: RegistryContents): Promise<Gathered> {
  const tables = Object.fromEntries(TABLE_NAMES.map((table) => [table, [] as unknown[]]));
  try {
    for await (const { table, rows } of contents.pages) tables[table]?.push(...rows);
  } finally {
    await contents.close();
  }
  return { start: contents.start, head: contents.head, tables: tables as unknown as Gathered['tables'] };
}

/** Octets as a Buffer, whichever way an engine gives them. */
export function expectSame(found: Gathered, wanted: Gathered): void {
  expect(plain(found)).toEqual(plain(wanted));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, plain(of)]));
}
