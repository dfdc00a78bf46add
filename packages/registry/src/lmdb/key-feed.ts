/**
 * What a controller is told of its nodes' keys: everything, by walking through the index of its
 * nodes, or what changed since a cursor, by the tail of the audit log. Each answer is read in one
 * snapshot, and costs what it tells.
 *
 *   cursor   0 | incarnation 27 | entry of the audit log 36     what changed after that entry
 *            1 | walk 31 | ID_i 32                              a walk goes on at that node
 */

import { randomInt } from 'node:crypto';
import { feedEntryOf, FIRST_CURSOR, type KeyFeedEntry, type M13, MAX_FEED_ENTRIES } from '@latchkey/protocol';
import { AuditTail, type TailEntry } from './audit-tail.js';
import type { WalkRow } from './node-assignments.js';
import type { Registry } from '../registry.js';
import { toNodeInfo, unsealNodeKey } from '../model/rows.js';
import type { Tables } from './tables.js';

/** Entries of the audit log, or nodes, that one answer looks at. At the bound it says `more`. */
const MAX_LOOKED_AT = 4_096;
/**
 * For so long an M12 with a smaller TID than that of the M12 that began a walk is taken for a copy
 * of an earlier one, in ms: none is in time for longer.
 */
const COPIES_COUNT_MS = 60_000;

const START_OVER: M13 = { cursor: FIRST_CURSOR, more: true, entries: [] };

export interface KeyFeedQuestion {
  readonly idC: number;
  readonly tid: bigint;
  readonly cursor: bigint;
  readonly wallMs: number;
}

type OrderEntry = Extract<TailEntry, { kind: 'order' }>;

/** `behind`: this server cannot tell yet what the cursor has seen. */
export type KeyFeedAnswer = M13 | 'behind';

export class KeyFeed {
  readonly #tables: Tables;
  readonly #tail: AuditTail;

  /** `registry`: one on LMDB. */
  constructor({ tables, audit }: Pick<Registry, 'tables' | 'audit'>) {
    this.#tables = tables;
    this.#tail = new AuditTail(audit);
  }

  /** The application roots are the caller's. Throws a Failure if a walk cannot be begun. */
  async answer(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor } = question;
    this.#tables.refreshSnapshot();
    if (cursor === FIRST_CURSOR) return this.#beginWalk(question);
    if (cursor >> 63n === 0n) return this.#answerChanges(question);
    const row = this.#tables.assignments.walks.get(idC);
    if (row?.walk !== Number((cursor >> 32n) & 0x7fff_ffffn)) return START_OVER;
    return this.#walk(question, row, Number(cursor & 0xffff_ffffn));
  }

  /**
   * @param order that appeared, whose nodes are told; `undefined`: all of the controller's are
   */
  async #beginWalk(question: KeyFeedQuestion, order?: OrderEntry): Promise<KeyFeedAnswer> {
    const { idC, tid, wallMs } = question;
    const { assignments, audit } = this.#tables;
    const row = await this.#tables.write((): WalkRow | undefined => {
      const before = assignments.walks.get(idC);
      if (before !== undefined && Math.abs(wallMs - before.at) < COPIES_COUNT_MS) {
        const tidBefore = BigInt(`0x${before.tid}`);
        // A copy of the M12 that began it goes on with it; one of an earlier M12 must not end it.
        if (tidBefore >= tid) return tidBefore === tid ? before : undefined;
      }
      const begun: WalkRow = {
        walk: randomInt(0, 2 ** 31),
        tid: tid.toString(16),
        at: wallMs,
        start: order?.seq ?? audit.head.seq,
        ...(order === undefined ? {} : { order: order.order }),
      };
      assignments.walks.putSync(idC, begun);
      return begun;
    });
    this.#tables.refreshSnapshot();
    return row === undefined ? 'behind' : this.#walk(question, row, 0);
  }

  #walk({ idC, wallMs }: KeyFeedQuestion, { walk, start, order }: WalkRow, from: number): M13 {
    const entries: KeyFeedEntry[] = [];
    let lookedAt = 0;
    for (const node of this.#tables.assignments.nodesOf(idC, from)) {
      if (entries.length === MAX_FEED_ENTRIES || lookedAt === MAX_LOOKED_AT)
        return { cursor: (1n << 63n) | (BigInt(walk) << 32n) | BigInt(node.idI), more: true, entries };
      lookedAt += 1;
      if ((order === undefined || node.order === order) && this.#isPublished(node.order))
        entries.push(this.#entryOf(node.idI, idC, wallMs));
    }
    return { cursor: this.#cursorAt(start), more: start < this.#head, entries };
  }

  async #answerChanges(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor, wallMs } = question;
    const head = this.#head;
    const position = Number(cursor & 0xf_ffff_ffffn);
    if (cursor >> 36n !== BigInt(this.#tables.assignments.incarnation)) return START_OVER;
    if (position > head) return 'behind';
    const told = new Set<number>();
    const end = Math.min(head, position + MAX_LOOKED_AT);
    let at = position;
    for (; at < end; at++) {
      const entry = this.#tail.get(at + 1);
      // It was pruned.
      if (entry === undefined) return START_OVER;
      if (entry.kind === 'order' && (entry.controller === undefined || entry.controller === idC)) {
        // What came before it is told first.
        if (told.size === 0) return this.#beginWalk(question, entry);
        break;
      }
      const idI = this.#nodeOf(entry, idC, position);
      if (idI === undefined) continue;
      if (told.size === MAX_FEED_ENTRIES && !told.has(idI)) break;
      told.add(idI);
    }
    const entries = [...told].map((idI) => this.#entryOf(idI, idC, wallMs));
    return { cursor: this.#cursorAt(at), more: at < head, entries };
  }

  /** The node that the entry is about, if it is the controller's, or was after entry `position`. */
  #nodeOf(entry: TailEntry, idC: number, position: number): number | undefined {
    switch (entry.kind) {
      case 'commit':
        return entry.controller === idC ? entry.node : undefined;
      case 'node': {
        const { nodes, assignments } = this.#tables;
        const isTheirs = nodes.get(entry.node)?.controller === idC || assignments.leftAfter(entry.node, idC, position);
        return isTheirs ? entry.node : undefined;
      }
      case 'order':
      case 'other':
        return undefined;
    }
  }

  #entryOf(idI: number, idC: number, wallMs: number): KeyFeedEntry {
    const { nodes, orders, keyring, assignments } = this.#tables;
    const row = nodes.get(idI);
    const order = row && orders.get(row.order);
    const tid = assignments.latestTid(idI, idC, row);
    if (row === undefined || order === undefined || order.state === 'pending')
      return feedEntryOf(idI, undefined, idC, tid, wallMs);
    const key = unsealNodeKey(keyring, idI, row);
    const entry = feedEntryOf(idI, { ...toNodeInfo(idI, row, order, undefined), key }, idC, tid, wallMs);
    key.wipe();
    return entry;
  }

  #isPublished(order: number): boolean {
    const row = this.#tables.orders.get(order);
    return row !== undefined && row.state !== 'pending';
  }

  #cursorAt(entry: number): bigint {
    return (BigInt(this.#tables.assignments.incarnation) << 36n) | BigInt(entry);
  }

  get #head(): number {
    return this.#tables.audit.head.seq;
  }
}
