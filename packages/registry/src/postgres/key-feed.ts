/**
 * The key feed of a controller's nodes, from PostgreSQL. The end of the log is read first, behind a
 * barrier, and the nodes after it. The state of a node may therefore be newer than the cursor, and
 * is then sent twice.
 */

import { randomInt } from 'node:crypto';
import type { Keyring } from '@latchkey/keyring';
import { FIRST_CURSOR, type KeyFeedEntry, type M13, MAX_FEED_ENTRIES } from '@latchkey/protocol';
import { parseEntry } from '../audit-chain.js';
import { AuditTail, type TailEntry } from '../audit-tail.js';
import {
  changesCursor,
  describeKey,
  isOfWalk,
  isPublished,
  type KeyFeed,
  type KeyFeedAnswer,
  type KeyFeedQuestion,
  MAX_LOOKED_AT,
  nodeToldOf,
  type OrderEntry,
  positionOf,
  START_OVER,
  walkCursor,
  walkFor,
  walkOf,
  type WalkRow,
} from '../key-feed.js';
import { type FormerAssignment, latestTid } from '../model/node-assignments.js';
import { ask } from './audit-table.js';
import { entryOctets } from './changes.js';
import type { Engine } from './engine.js';
import type { Reader } from './reader.js';
import type { Rows } from './snapshot.js';
import type { SqlRow } from './tables.js';
import type { Writer } from './writer.js';

/** Entries, or nodes, per read. */
const CHUNK = 64;

const FETCH_WALK = 'SELECT walk, tid, at, start_entry, order_number FROM latchkey.key_feed_walks WHERE controller = $1';
const PUT_WALK = `INSERT INTO latchkey.key_feed_walks (controller, walk, tid, at, start_entry, order_number) VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (controller) DO UPDATE SET walk = EXCLUDED.walk, tid = EXCLUDED.tid, at = EXCLUDED.at,
    start_entry = EXCLUDED.start_entry, order_number = EXCLUDED.order_number`;
const FETCH_ENTRIES = 'SELECT hash, previous, body FROM latchkey.audit WHERE seq >= $1 ORDER BY seq LIMIT $2';
const FETCH_NODES = 'SELECT id FROM latchkey.nodes WHERE controller = $1 AND id >= $2 ORDER BY id LIMIT $3';
const FETCH_FORMER =
  'SELECT node, until_entry, tid FROM latchkey.former_assignments WHERE controller = $1 AND node = ANY($2::bigint[])';

/** Nodes as read, and their former assignments for one controller. */
interface Nodes {
  readonly rows: Rows;
  readonly former: ReadonlyMap<number, FormerAssignment>;
}

export class PostgresKeyFeed implements KeyFeed {
  readonly #engine: Engine;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #keyring: Keyring;
  readonly #tail: AuditTail = new AuditTail();

  constructor(engine: Engine, reader: Reader, writer: Writer, keyring: Keyring) {
    this.#engine = engine;
    this.#reader = reader;
    this.#writer = writer;
    this.#keyring = keyring;
  }

  async answer(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor } = question;
    if (cursor === FIRST_CURSOR) return this.#beginWalk(question);
    if (!isOfWalk(cursor)) return this.#answerChanges(question);
    const [record] = await ask(this.#engine, { name: 'walk', text: FETCH_WALK, values: [idC] });
    const row = record && toWalk(record);
    const { walk, from } = walkOf(cursor);
    return row?.walk === walk ? this.#walk(question, row, from) : START_OVER;
  }

  async #beginWalk(question: KeyFeedQuestion, order?: OrderEntry): Promise<KeyFeedAnswer> {
    const { idC } = question;
    const row = await this.#writer.write({
      keys: {},
      asks: [{ name: 'walk', text: FETCH_WALK, values: [idC] }],
      decide({ head }, [answer]) {
        const record = answer?.rows[0];
        const before = record && toWalk(record);
        const begun = walkFor(question, before, head.seq, order, (end) => randomInt(end));
        if (begun === undefined || begun === before) return { result: begun };
        const { walk, tid, at, start } = begun;
        const values = [idC, walk, tid, at, start, begun.order ?? null];
        return { result: begun, statements: [{ name: 'put walk', text: PUT_WALK, values }] };
      },
    });
    return row === undefined ? 'behind' : this.#walk(question, row, 0);
  }

  async #walk(question: KeyFeedQuestion, { walk, start, order }: WalkRow, from: number): Promise<M13> {
    const { idC } = question;
    const entries: KeyFeedEntry[] = [];
    let next = from;
    for (let lookedAt = 0; lookedAt < MAX_LOOKED_AT; lookedAt += CHUNK) {
      const page = await ask(this.#engine, { name: 'feed nodes', text: FETCH_NODES, values: [idC, next, CHUNK] });
      const ids = page.map(({ id }) => id as number);
      const nodes = await this.#nodes(ids, idC);
      for (const idI of ids) {
        if (entries.length === MAX_FEED_ENTRIES) return { cursor: walkCursor(walk, idI), more: true, entries };
        const row = nodes.rows.node(idI)?.row;
        // The node was moved or removed during the walk, which is sent after it.
        if (row?.controller !== idC) continue;
        if ((order === undefined || row.order === order) && isPublished(nodes.rows.order(row.order)?.row))
          entries.push(this.#entryOf(idI, nodes, question));
      }
      if (ids.length < CHUNK) {
        const { registry, head } = nodes.rows;
        return { cursor: changesCursor(registry.incarnation, start), more: start < head.seq, entries };
      }
      next = (ids.at(-1) ?? 0) + 1;
    }
    return { cursor: walkCursor(walk, next), more: true, entries };
  }

  async #answerChanges(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor } = question;
    const { registry, head } = await this.#reader.read({});
    const { incarnation, entry: position } = positionOf(cursor);
    if (incarnation !== registry.incarnation) return START_OVER;
    if (position > head.seq) return 'behind';
    const told = new Map<number, Nodes>();
    const end = Math.min(head.seq, position + MAX_LOOKED_AT);
    let at = position;
    const answer = (): M13 => {
      const entries = [...told].map(([idI, nodes]) => this.#entryOf(idI, nodes, question));
      return { cursor: changesCursor(incarnation, at), more: at < head.seq, entries };
    };
    while (at < end) {
      const chunk = await this.#entries(at + 1, Math.min(CHUNK, end - at));
      // They were pruned.
      if (chunk === undefined) return START_OVER;
      const nodes = await this.#nodes(nodesIn(chunk, idC), idC);
      const { rows, former } = nodes;
      const isTheirs = (idI: number): boolean =>
        rows.node(idI)?.row.controller === idC || (former.get(idI)?.until ?? 0) > position;
      for (const entry of chunk) {
        if (entry.kind === 'order' && (entry.controller === undefined || entry.controller === idC))
          // Earlier changes are sent first.
          return told.size === 0 ? this.#beginWalk(question, entry) : answer();
        const idI = nodeToldOf(entry, idC, isTheirs);
        if (idI !== undefined) {
          if (told.size === MAX_FEED_ENTRIES && !told.has(idI)) return answer();
          told.set(idI, nodes);
        }
        at = entry.seq;
      }
    }
    return answer();
  }

  /** So many entries from `from` on; `undefined`: one of them is not in the log. */
  async #entries(from: number, count: number): Promise<readonly TailEntry[] | undefined> {
    const known = Array.from({ length: count }, (_, i) => this.#tail.get(from + i));
    const entries = known.filter((entry) => entry !== undefined);
    if (entries.length === count) return entries;
    const rows = await ask(this.#engine, { name: 'feed entries', text: FETCH_ENTRIES, values: [from, count] });
    const read = rows.map((row) => parseEntry(entryOctets(row))).filter((entry) => entry !== undefined);
    if (read.length < count || read.some(({ seq }, i) => seq !== from + i)) return undefined;
    return read.map((entry) => this.#tail.keep(entry));
  }

  /**
   * Former assignments are read after the rows. A reset moves the TID from the row to them, and the
   * TID must not be missed in both.
   */
  async #nodes(ids: readonly number[], idC: number): Promise<Nodes> {
    const rows = await this.#reader.read({ nodes: ids });
    const values = [idC, ids];
    const former = ids.length === 0 ? [] : await ask(this.#engine, { name: 'feed former', text: FETCH_FORMER, values });
    return { rows, former: new Map(former.map((record) => [record['node'] as number, toFormer(record)])) };
  }

  #entryOf(idI: number, { rows, former }: Nodes, question: KeyFeedQuestion): KeyFeedEntry {
    const row = rows.node(idI)?.row;
    const found = { row, order: row && rows.order(row.order)?.row };
    return describeKey(this.#keyring, idI, found, question, latestTid(row, former.get(idI), question.idC));
  }
}

/** Returns the nodes whose rows determine the result of these entries. */
function nodesIn(entries: readonly TailEntry[], idC: number): number[] {
  const ids = new Set<number>();
  for (const entry of entries)
    if (entry.kind === 'node' || (entry.kind === 'commit' && entry.controller === idC)) ids.add(entry.node);
  return [...ids];
}

function toWalk(record: SqlRow): WalkRow {
  const {
    walk,
    tid,
    at,
    start_entry: start,
    order_number: order,
  } = record as {
    readonly walk: number;
    readonly tid: string;
    readonly at: number;
    readonly start_entry: number;
    readonly order_number: number | null;
  };
  return { walk, tid, at, start, ...(order === null ? {} : { order }) };
}

function toFormer(record: SqlRow): FormerAssignment {
  const { until_entry: until, tid } = record as { readonly until_entry: number | null; readonly tid: string | null };
  return { ...(until === null ? {} : { until }), ...(tid === null ? {} : { tid }) };
}
