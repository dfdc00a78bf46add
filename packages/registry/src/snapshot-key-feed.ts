/**
 * Key feed of an engine that reads snapshots of the whole registry synchronously: each answer is
 * read in one snapshot.
 */

import type { Keyring } from '@latchkey/keyring';
import { FIRST_CURSOR, type KeyFeedEntry, type M13, MAX_FEED_ENTRIES } from '@latchkey/protocol';
import { parseEntry } from './audit-chain.js';
import { AuditTail, type TailEntry } from './audit-tail.js';
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
} from './key-feed.js';
import { type AssignedNode, type FormerAssignment, latestTid } from './model/node-assignments.js';
import type { NodeRow, OrderRow } from './model/rows.js';

/** The registry as the key feed reads it. */
export interface FeedSource {
  readonly keyring: Keyring;
  /** Reads from here on see all that was acknowledged before, at one moment. */
  refreshSnapshot(): void;
  /** A random number that changes when the registry is restored: earlier cursors become invalid. */
  readonly incarnation: number;
  /** The number of the last entry of the audit log. */
  readonly head: number;
  auditEntry(seq: number): Buffer | undefined;
  node(idI: number): NodeRow | undefined;
  order(number: number): OrderRow | undefined;
  /** In ascending order of ID, from `from` on, also nodes of orders that are not finished. */
  nodesOf(idC: number, from: number): Iterable<AssignedNode>;
  former(idI: number, idC: number): FormerAssignment | undefined;
  walk(idC: number): WalkRow | undefined;
  /** Replaces the walk of a controller by the result of a decision on it and on the log's head. */
  replaceWalk(
    idC: number,
    decide: (before: WalkRow | undefined, head: number) => WalkRow | undefined,
  ): Promise<WalkRow | undefined>;
  /** A whole number from 0 to below `end`, which names a walk. */
  draw(end: number): number;
}

export class SnapshotKeyFeed implements KeyFeed {
  readonly #source: FeedSource;
  readonly #tail = new AuditTail();

  constructor(source: FeedSource) {
    this.#source = source;
  }

  async answer(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor } = question;
    this.#source.refreshSnapshot();
    if (cursor === FIRST_CURSOR) return this.#beginWalk(question);
    if (!isOfWalk(cursor)) return this.#answerChanges(question);
    const row = this.#source.walk(idC);
    const { walk, from } = walkOf(cursor);
    return row?.walk === walk ? this.#walk(question, row, from) : START_OVER;
  }

  async #beginWalk(question: KeyFeedQuestion, order?: OrderEntry): Promise<KeyFeedAnswer> {
    const source = this.#source;
    const row = await source.replaceWalk(question.idC, (before, head) =>
      walkFor(question, before, head, order, (end) => source.draw(end)),
    );
    source.refreshSnapshot();
    return row === undefined ? 'behind' : this.#walk(question, row, 0);
  }

  #walk(question: KeyFeedQuestion, { walk, start, order }: WalkRow, from: number): M13 {
    const source = this.#source;
    const entries: KeyFeedEntry[] = [];
    let lookedAt = 0;
    for (const node of source.nodesOf(question.idC, from)) {
      if (entries.length === MAX_FEED_ENTRIES || lookedAt === MAX_LOOKED_AT)
        return { cursor: walkCursor(walk, node.idI), more: true, entries };
      lookedAt += 1;
      if ((order === undefined || node.order === order) && isPublished(source.order(node.order)))
        entries.push(this.#entryOf(node.idI, question));
    }
    return { cursor: changesCursor(source.incarnation, start), more: start < source.head, entries };
  }

  async #answerChanges(question: KeyFeedQuestion): Promise<KeyFeedAnswer> {
    const { idC, cursor } = question;
    const source = this.#source;
    const { head } = source;
    const { incarnation, entry: position } = positionOf(cursor);
    if (incarnation !== source.incarnation) return START_OVER;
    if (position > head) return 'behind';
    const isTheirs = (idI: number): boolean =>
      source.node(idI)?.controller === idC || (source.former(idI, idC)?.until ?? 0) > position;
    const told = new Set<number>();
    const end = Math.min(head, position + MAX_LOOKED_AT);
    let at = position;
    for (; at < end; at++) {
      const entry = this.#tailEntry(at + 1);
      // It was pruned.
      if (entry === undefined) return START_OVER;
      if (entry.kind === 'order' && (entry.controller === undefined || entry.controller === idC)) {
        // Earlier changes are sent first.
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
    const octets = this.#source.auditEntry(seq);
    const entry = octets && parseEntry(octets);
    return entry && this.#tail.keep(entry);
  }

  #entryOf(idI: number, question: KeyFeedQuestion): KeyFeedEntry {
    const { idC } = question;
    const source = this.#source;
    const row = source.node(idI);
    const found = { row, order: row && source.order(row.order) };
    // Of most nodes the row itself has the latest commit.
    const former = row?.committed?.idC === idC ? undefined : source.former(idI, idC);
    return describeKey(source.keyring, idI, found, question, latestTid(row, former, idC));
  }
}
