/**
 * Sends a snapshot to one subscriber, then each change. Lines are built when the socket accepts
 * them. The queue of a slow subscriber therefore holds sequence numbers, not keys.
 */

import type { Socket } from 'node:net';
import type { ChangeLog } from './change-log.js';
import type { KeySource, NodeKeys } from './key-source.js';
import { eventLine, plainLine, stateAt, wipeKeys } from './key-lines.js';

/** Octets that may wait in a socket of this process, the kernel's own buffer not counted. */
export const MAX_QUEUED = 65_536;
/** Lines in one go. The daemon serves nodes in between. */
const LINES_PER_TURN = 32;

export interface SubscriptionOptions {
  readonly socket: Socket;
  readonly labels: readonly string[];
  /** The last sequence number that the subscriber has dealt with. */
  readonly from: number | undefined;
  readonly source: KeySource;
  readonly changes: ChangeLog;
  /** Whether the source has every node. */
  readonly isComplete: () => boolean;
  readonly now: () => number;
  /** Writes a line and wipes it once it is sent. */
  readonly send: (line: Buffer) => void;
  /** Called with each node whose keys were sent. */
  readonly onSent: (keys: NodeKeys) => void;
  readonly onResync: () => void;
  /** Called if the source fails. Nothing is sent from then on. */
  readonly onFault: (error: unknown) => void;
}

interface Snapshot {
  readonly nodes: Iterator<NodeKeys>;
  /** The latest change before the snapshot. */
  readonly seq: number;
}

export class Subscription {
  readonly #options: SubscriptionOptions;
  /** The sequence number of the last change that was sent. */
  #position: number;
  #snapshot: Snapshot | undefined;
  /**
   * Sequence number after which the subscriber gets `synced`. `Infinity` while the source is not
   * complete.
   */
  #syncAt: number | undefined;
  #turn: NodeJS.Immediate | undefined;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    const { from, changes } = options;
    this.#position = from ?? changes.last;
    this.#syncAt = changes.last;
    if (from === undefined) this.#beginSnapshot();
    this.continue();
  }

  /** Schedules sending of pending events. */
  continue(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      try {
        this.#sendLines();
      } catch (error) {
        this.#options.onFault(error);
      }
    });
  }

  stop(): void {
    clearImmediate(this.#turn);
    this.#endSnapshot();
  }

  /** The lines of a turn are one write. */
  #sendLines(): void {
    const { socket } = this.#options;
    socket.cork();
    try {
      for (let lines = 0; lines < LINES_PER_TURN; lines++) {
        // Continues at `drain`.
        if (!socket.writable || socket.writableLength >= MAX_QUEUED) return;
        if (!this.#sendLine()) return;
      }
      this.continue();
    } finally {
      socket.uncork();
    }
  }

  /** Returns false if nothing is due. */
  #sendLine(): boolean {
    if (this.#snapshot !== undefined) return this.#sendSnapshotLine(this.#snapshot);
    const { changes, source, labels, now, send, onSent, onResync } = this.#options;
    if (!changes.covers(this.#position)) {
      onResync();
      send(plainLine({ event: 'resync' }));
      this.#beginSnapshot();
      return true;
    }
    const change = changes.after(this.#position);
    if (this.#isSynced(change?.seq)) {
      this.#syncAt = undefined;
      send(plainLine({ event: 'synced', seq: this.#position }));
      return true;
    }
    if (change === undefined) return false;
    const keys = source.get(change.idI);
    try {
      send(eventLine(change.idI, keys, labels, now(), change.seq));
      if (keys !== undefined) onSent(keys);
    } finally {
      wipeKeys(keys);
    }
    this.#position = change.seq;
    return true;
  }

  /**
   * Until the source is complete, its changes belong to the snapshot. A subscriber would otherwise
   * take the nodes that are still missing for removed ones.
   *
   * @param next the change to be sent next
   */
  #isSynced(next: number | undefined): boolean {
    if (this.#syncAt === undefined) return false;
    const { changes, isComplete } = this.#options;
    if (!isComplete()) {
      this.#syncAt = Infinity;
      return false;
    }
    if (this.#syncAt === Infinity) this.#syncAt = changes.last;
    return next === undefined || next > this.#syncAt;
  }

  /** Omits nodes that never had a key of their own, because no key must be revoked. */
  #sendSnapshotLine({ nodes, seq }: Snapshot): boolean {
    const { labels, now, send, onSent } = this.#options;
    const { value: keys, done } = nodes.next();
    if (done === true) {
      this.#snapshot = undefined;
      this.#position = seq;
      return true;
    }
    try {
      if (stateAt(keys, now()) !== 'initial') {
        send(eventLine(keys.idI, keys, labels, now()));
        onSent(keys);
      }
    } finally {
      wipeKeys(keys);
    }
    return true;
  }

  #beginSnapshot(): void {
    this.#endSnapshot();
    const { source, changes } = this.#options;
    this.#snapshot = { nodes: source.all()[Symbol.iterator](), seq: changes.last };
    this.#syncAt = changes.last;
  }

  #endSnapshot(): void {
    this.#snapshot?.nodes.return?.();
    this.#snapshot = undefined;
  }
}
