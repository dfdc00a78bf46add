/** What a controller is told of its nodes' keys, from LMDB: each answer is read in one snapshot. */

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
import type { Tables } from './tables.js';

export class LmdbKeyFeed implements KeyFeed {
  readonly #tables: Tables;
  readonly #tail = new AuditTail();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async answer(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor } = question;
    this.#tables.refreshSnapshot();
    if (cursor === FIRST_CURSOR) return this.#beginWalk(question);
    if (!isOfWalk(cursor)) return this.#answerChanges(question);
    const row = this.#tables.assignments.walks.get(idC);
    const { walk, from } = walkOf(cursor);
    return row?.walk === walk ? this.#walk(question, row, from) : START_OVER;
  }

  async #beginWalk(question: KeyFeedQuestion, order?: OrderEntry): Promise<KeyFeedAnswer> {
    const { idC } = question;
    const { assignments, audit } = this.#tables;
    const row = await this.#tables.write((): WalkRow | undefined => {
      const before = assignments.walks.get(idC);
      const begun = walkFor(question, before, audit.head.seq, order);
      if (begun !== undefined && begun !== before) assignments.walks.putSync(idC, begun);
      return begun;
    });
    this.#tables.refreshSnapshot();
    return row === undefined ? 'behind' : this.#walk(question, row, 0);
  }

  #walk(question: KeyFeedQuestion, { walk, start, order }: WalkRow, from: number): M13 {
    const { assignments, orders } = this.#tables;
    const entries: KeyFeedEntry[] = [];
    let lookedAt = 0;
    for (const node of assignments.nodesOf(question.idC, from)) {
      if (entries.length === MAX_FEED_ENTRIES || lookedAt === MAX_LOOKED_AT)
        return { cursor: walkCursor(walk, node.idI), more: true, entries };
      lookedAt += 1;
      if ((order === undefined || node.order === order) && isPublished(orders.get(node.order)))
        entries.push(this.#entryOf(node.idI, question));
    }
    return { cursor: changesCursor(assignments.incarnation, start), more: start < this.#head, entries };
  }

  async #answerChanges(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor } = question;
    const { assignments, nodes } = this.#tables;
    const isTheirs = (idI: number): boolean => nodes.get(idI)?.controller === idC || assignments.leftAfter(idI, idC, position);
    const head = this.#head;
    const { incarnation, entry: position } = positionOf(cursor);
    if (incarnation !== assignments.incarnation) return START_OVER;
    if (position > head) return 'behind';
    const told = new Set<number>();
    const end = Math.min(head, position + MAX_LOOKED_AT);
    let at = position;
    for (; at < end; at++) {
      const entry = this.#tailEntry(at + 1);
      // It was pruned.
      if (entry === undefined) return START_OVER;
      if (entry.kind === 'order' && (entry.controller === undefined || entry.controller === idC)) {
        // What came before it is told first.
        if (told.size === 0) return this.#beginWalk(question, entry);
        break;
      }
      const idI = nodeToldOf(entry, idC, isTheirs);
      if (idI === undefined) continue;
      if (told.size === MAX_FEED_ENTRIES && !told.has(idI)) break;
      told.add(idI);
    }
    const entries = [...told].map((idI) => this.#entryOf(idI, question));
    return { cursor: changesCursor(incarnation, at), more: at < head, entries };
  }

  #tailEntry(seq: number): TailEntry | undefined {
    const known = this.#tail.get(seq);
    if (known !== undefined) return known;
    const octets = this.#tables.audit.get(seq);
    const entry = octets && parseEntry(octets);
    return entry && this.#tail.keep(entry);
  }

  #entryOf(idI: number, question: KeyFeedQuestion): KeyFeedEntry {
    const { nodes, orders, keyring, assignments } = this.#tables;
    const row = nodes.get(idI);
    const found = { row, order: row && orders.get(row.order) };
    return describeKey(keyring, idI, found, question, assignments.latestTid(idI, question.idC, row));
  }

  get #head(): number {
    return this.#tables.audit.head.seq;
  }
}
