/**
 * What a server saw of its registry's database, in a file of its data folder: its identity, and the
 * latest entry of the audit log. A database without that entry has lost acknowledged writes.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageFailure } from '@latchkey/runtime/failure';
import { ensurePrivateFolder, exists, readPrivateFile, replaceFile, syncFolderOf } from '@latchkey/runtime/files';
import type { SharedMonotonic } from './database-clock.js';
import { formatHead, type Head, parseHead } from '../audit-chain.js';
import { LAST_SEEN_FILE } from '../folder-names.js';

/** The shared clock is saved again once its offset has changed by this, in ms. */
const CLOCK_KEPT_MS = 100;

export interface Seen {
  /** `registry.id` of the database. */
  readonly registry: string;
  /** Names the cluster of PostgreSQL, whichever machine is its primary. */
  readonly system: string;
  /** Number of times that an operator accepted the loss of entries (`registry accept`). */
  readonly epoch: number;
  readonly head: Head | undefined;
}

export interface Kept {
  readonly seen: Seen | undefined;
  readonly clock: SharedMonotonic | undefined;
}

export class LastSeen {
  readonly path: string;
  /** As it was when this process started. */
  readonly clockBefore: SharedMonotonic | undefined;
  #seen: Seen | undefined;
  #saved: Seen | undefined;
  #savedAhead: number | undefined;

  protected constructor(path: string, { seen, clock }: Kept) {
    this.path = path;
    this.#seen = seen;
    this.#saved = seen;
    this.clockBefore = clock;
    this.#savedAhead = clock?.ahead;
  }

  static async read(folder: string): Promise<LastSeen> {
    await ensurePrivateFolder(folder);
    const path = join(folder, LAST_SEEN_FILE);
    return new LastSeen(path, parseKept(path, (await exists(path)) ? await readPrivateFile(path) : undefined));
  }

  get seen(): Seen | undefined {
    return this.#seen;
  }

  /** Records an entry if it is later than the latest known one. */
  note(seen: Seen): void {
    const { epoch, head } = this.#seen ?? { epoch: -1, head: undefined };
    if (seen.epoch > epoch || (seen.epoch === epoch && (seen.head?.seq ?? 0) > (head?.seq ?? 0))) this.#seen = seen;
  }

  /** Saves what was recorded since the last call, and the state of the servers' monotonic clock. */
  async save(clock: SharedMonotonic | undefined = this.clockBefore): Promise<void> {
    const seen = this.#seen;
    const isClockKept = clock === undefined || Math.abs(clock.ahead - (this.#savedAhead ?? Infinity)) < CLOCK_KEPT_MS;
    if (seen === undefined || (seen === this.#saved && isClockKept)) return;
    const { head, ...rest } = seen;
    await this.write(`${JSON.stringify({ ...rest, ...(head && { head: formatHead(head) }), clock })}\n`);
    this.#saved = seen;
    this.#savedAhead = clock?.ahead;
  }

  /** Replaces the file, durably. */
  protected write(text: string): Promise<void> {
    return replaceFile(this.path, text);
  }

  /** In place of whatever was known. */
  async replace(seen: Seen): Promise<void> {
    this.#seen = seen;
    await this.save();
  }

  /** Once the registry is not in a database any more. */
  async forget(): Promise<void> {
    await rm(this.path, { force: true });
    await syncFolderOf(this.path);
    this.#seen = undefined;
    this.#saved = undefined;
  }
}

/** @param text of the file; `undefined`: there is none */
export function parseKept(path: string, text: string | undefined): Kept {
  if (text === undefined) return { seen: undefined, clock: undefined };
  try {
    const { registry, system, epoch, head, clock } = JSON.parse(text) as Record<string, unknown>;
    const parsed = typeof head === 'string' ? parseHead(head) : undefined;
    if (
      typeof registry === 'string' &&
      typeof system === 'string' &&
      typeof epoch === 'number' &&
      (parsed !== undefined || head === undefined)
    )
      return { seen: { registry, system, epoch, head: parsed }, clock: clock as SharedMonotonic | undefined };
  } catch {
    // Treated like a malformed file.
  }
  throw new UsageFailure(`${path} is not what a server writes there`, {
    advice:
      'It says which entries of the audit log this server has seen. Put it back from a copy. Without it a database that lost entries is not noticed: remove it only if you know that yours did not.',
  });
}
