/**
 * Opening a store, and writing to it, never at once, whatever the process. As LMDB opens a store it sets the number of the latest transaction to what it
 * has read a moment before: what another process committed in between would be undone by the next one, and the store damaged (docs/decisions/0014).
 *
 * Whoever writes has `BUSY` together with other writers; LMDB itself lets in one at a time. Whoever opens has it alone, and waits for it with `GATE` in
 * hand, at which all who are about to write stop. The kernel takes both from a process that ends. Where it cannot be asked for them (musl, rarer
 * processors), one process has the store at a time.
 */

import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure, chownToFolderOwner, lockWithSocket, nativeLocks, type SocketLock, systemCode } from '@latchkey/runtime';

const FILE = 'turnstile';
/** Octets of it that are locked. */
const GATE = 0;
const BUSY = 1;

/** While it goes on writing, a process looks at the gate so often, in ms. */
const LOOK_EVERY_MS = 2;
/** Between two tries, in ms. */
const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 16;
/** How long an opener waits for those who write, in ms: none takes longer unless its disk, or itself, stands still. */
const PATIENCE_MS = 30_000;

export class Turnstile {
  readonly #folder: string;
  readonly #file: FileHandle;
  /** The whole store, where there is no other lock. */
  readonly #socket: SocketLock | undefined;
  /** Transactions of this process that are not done. */
  #underWay = 0;
  #lookedAt = -Infinity;
  /** While another process opens the store. */
  #opening: Promise<void> | undefined;
  #inside = false;
  #closed = false;

  private constructor(folder: string, file: FileHandle, socket: SocketLock | undefined) {
    this.#folder = folder;
    this.#file = file;
    this.#socket = socket;
  }

  /**
   * @param folder of the store, which is there
   * @throws Failure where another process has it and the two could not share it
   */
  static async of(folder: string): Promise<Turnstile> {
    const path = join(folder, FILE);
    const file = await open(path, 'a+', 0o600);
    await chownToFolderOwner(path);
    if (nativeLocks() !== undefined) return new Turnstile(folder, file, undefined);
    const socket = await lockWithSocket(file);
    if (socket !== undefined) return new Turnstile(folder, file, socket);
    await file.close();
    throw new Failure(`the store ${folder} is in use by another process, and cannot be shared on this system`, {
      advice: 'Stop that process first.',
    });
  }

  /** Whether the action of a transaction runs now: what it starts in turn is part of it. */
  get isInside(): boolean {
    return this.#inside;
  }

  /** Runs what opens the store. Throws a Failure where somebody goes on writing. */
  async alone<T>(action: () => T): Promise<T> {
    const end = performance.now() + PATIENCE_MS;
    const have = (octet: number): boolean => {
      if (this.#take(octet, true)) return true;
      if (performance.now() < end) return false;
      throw new Failure(`the store ${this.#folder} cannot be opened: another process does not finish what it writes`, {
        advice: 'Look for one that is stopped, or for a disk that does not answer.',
      });
    };
    await until(() => have(GATE));
    try {
      await until(() => have(BUSY));
      try {
        return action();
      } finally {
        this.#give(BUSY);
      }
    } finally {
      this.#give(GATE);
    }
  }

  /**
   * Runs what starts a transaction, now if nobody opens the store.
   *
   * @param start its promise resolves when the disk has it
   */
  through<T>(start: () => Promise<T>): Promise<T> {
    // Within a transaction's own action it is through; a store that is closed says so itself.
    if (this.#inside || this.#closed) return start();
    if (this.#opening === undefined && this.#enter()) return this.#counted(start);
    this.#opening ??= this.#untilOpened();
    return this.#opening.then(() => this.through(start));
  }

  /** The action of a transaction: what it starts in turn is part of it. */
  within<T>(action: () => T): () => T {
    return () => {
      const before = this.#inside;
      this.#inside = true;
      try {
        return action();
      } finally {
        this.#inside = before;
      }
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#socket?.release();
    await this.#file.close();
  }

  #enter(): boolean {
    const now = performance.now();
    if (this.#underWay > 0 && now - this.#lookedAt < LOOK_EVERY_MS) return true;
    if (!this.#take(GATE, false)) return false;
    this.#lookedAt = now;
    const entered = this.#underWay > 0 || this.#take(BUSY, false);
    this.#give(GATE);
    return entered;
  }

  async #counted<T>(start: () => Promise<T>): Promise<T> {
    this.#underWay += 1;
    try {
      return await start();
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0 && !this.#closed) this.#give(BUSY);
    }
  }

  async #untilOpened(): Promise<void> {
    try {
      await until(() => this.#closed || this.#take(GATE, false));
      if (!this.#closed) this.#give(GATE);
    } finally {
      // Also where the system gives no lock now: whoever comes next asks it again.
      this.#opening = undefined;
    }
  }

  /** Whether it could be had. */
  #take(octet: number, alone: boolean): boolean {
    try {
      nativeLocks()?.tryLock(this.#file.fd, octet, 1, alone);
      return true;
    } catch (error) {
      if (systemCode(error) === 'EAGAIN') return false;
      throw error;
    }
  }

  #give(octet: number): void {
    nativeLocks()?.unlock(this.#file.fd, octet, 1);
  }
}

/** Tries again and again, at longer and longer intervals. */
async function until(done: () => boolean): Promise<void> {
  for (let ms = FIRST_WAIT_MS; !done(); ms = Math.min(2 * ms, LONGEST_WAIT_MS)) await pause(ms);
}
