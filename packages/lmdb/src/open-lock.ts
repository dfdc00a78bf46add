/**
 * Opening a store, and writing to it, never at once, whatever the process. As LMDB opens a store it
 * sets the number of the latest transaction to what it has read a moment before: what another
 * process committed in between would be undone by the next one, and the store damaged
 * (docs/decisions/0014).
 *
 * Whoever writes has `WRITERS_BYTE` together with other writers; LMDB itself lets in one at a time.
 * Whoever opens has it alone, and waits for it with `GATE_BYTE` in hand, at which all who are about
 * to write stop. The kernel takes both from a process that ends. Where it cannot be asked for them
 * (musl, rarer processors), one process has the store at a time.
 */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure, systemCode } from '@latchkey/runtime/failure';
import { chownToFolderOwner, lockWithSocket, nativeLocks, openLockFile, type SocketLock } from '@latchkey/runtime/files';

const FILE_NAME = 'open.lock';
/** Octets of it that are locked. */
const GATE_BYTE = 0;
const WRITERS_BYTE = 1;

/** While it goes on writing, a process looks at the gate so often, in ms. */
const GATE_CHECK_INTERVAL_MS = 2;
/** Between two tries, in ms. */
const MIN_RETRY_DELAY_MS = 1;
const MAX_RETRY_DELAY_MS = 16;
/**
 * How long an opener waits for those who write, in ms: none takes longer unless its disk, or
 * itself, stands still.
 */
const OPEN_TIMEOUT_MS = 30_000;

export class StoreOpenLock {
  readonly #folder: string;
  readonly #file: FileHandle;
  /** The whole store, where there is no other lock. */
  readonly #socket: SocketLock | undefined;
  /** Transactions of this process that are not done. */
  #activeTransactions = 0;
  #gateCheckedAt = -Infinity;
  /** While another process opens the store. */
  #openerDone: Promise<void> | undefined;
  #insideTransaction = false;
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
  static async open(folder: string): Promise<StoreOpenLock> {
    const path = join(folder, FILE_NAME);
    const file = await openLockFile(path);
    await chownToFolderOwner(path);
    if (nativeLocks() !== undefined) return new StoreOpenLock(folder, file, undefined);
    const socket = await lockWithSocket(file);
    if (socket !== undefined) return new StoreOpenLock(folder, file, socket);
    await file.close();
    throw new Failure(`the store ${folder} is in use by another process, and cannot be shared on this system`, {
      advice: 'Stop that process first.',
    });
  }

  /** Whether the action of a transaction runs now: what it starts in turn is part of it. */
  get isInside(): boolean {
    return this.#insideTransaction;
  }

  /** Runs what opens the store. Throws a Failure where somebody goes on writing. */
  async exclusive<T>(action: () => T): Promise<T> {
    const deadline = performance.now() + OPEN_TIMEOUT_MS;
    const isLocked = (octet: number): boolean => {
      if (this.#tryLock(octet, true)) return true;
      if (performance.now() < deadline) return false;
      throw new Failure(`the store ${this.#folder} cannot be opened: another process does not finish what it writes`, {
        advice: 'Look for one that is stopped, or for a disk that does not answer.',
      });
    };
    await retryUntil(() => isLocked(GATE_BYTE));
    try {
      await retryUntil(() => isLocked(WRITERS_BYTE));
      try {
        return action();
      } finally {
        this.#unlock(WRITERS_BYTE);
      }
    } finally {
      this.#unlock(GATE_BYTE);
    }
  }

  /**
   * Runs what starts a transaction, now if nobody opens the store.
   *
   * @param start its promise resolves when the disk has it
   */
  shared<T>(start: () => Promise<T>): Promise<T> {
    // Within a transaction's own action it is through; a store that is closed says so itself.
    if (this.#insideTransaction || this.#closed) return start();
    if (this.#openerDone === undefined && this.#tryEnter()) return this.#runCounted(start);
    this.#openerDone ??= this.#waitForOpener();
    return this.#openerDone.then(() => this.shared(start));
  }

  /** The action of a transaction: what it starts in turn is part of it. */
  reentrant<T>(action: () => T): () => T {
    return () => {
      const outer = this.#insideTransaction;
      this.#insideTransaction = true;
      try {
        return action();
      } finally {
        this.#insideTransaction = outer;
      }
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#socket?.release();
    await this.#file.close();
  }

  #tryEnter(): boolean {
    const now = performance.now();
    if (this.#activeTransactions > 0 && now - this.#gateCheckedAt < GATE_CHECK_INTERVAL_MS) return true;
    if (!this.#tryLock(GATE_BYTE, false)) return false;
    this.#gateCheckedAt = now;
    const entered = this.#activeTransactions > 0 || this.#tryLock(WRITERS_BYTE, false);
    this.#unlock(GATE_BYTE);
    return entered;
  }

  async #runCounted<T>(start: () => Promise<T>): Promise<T> {
    this.#activeTransactions += 1;
    try {
      return await start();
    } finally {
      this.#activeTransactions -= 1;
      if (this.#activeTransactions === 0 && !this.#closed) this.#unlock(WRITERS_BYTE);
    }
  }

  async #waitForOpener(): Promise<void> {
    try {
      await retryUntil(() => this.#closed || this.#tryLock(GATE_BYTE, false));
      if (!this.#closed) this.#unlock(GATE_BYTE);
    } finally {
      // Also where the system gives no lock now: whoever comes next asks it again.
      this.#openerDone = undefined;
    }
  }

  /** Whether it could be had. */
  #tryLock(octet: number, exclusive: boolean): boolean {
    try {
      nativeLocks()?.tryLock(this.#file.fd, octet, 1, exclusive);
      return true;
    } catch (error) {
      if (systemCode(error) === 'EAGAIN') return false;
      throw error;
    }
  }

  #unlock(octet: number): void {
    nativeLocks()?.unlock(this.#file.fd, octet, 1);
  }
}

/** Tries again and again, at longer and longer intervals. */
async function retryUntil(isDone: () => boolean): Promise<void> {
  for (let ms = MIN_RETRY_DELAY_MS; !isDone(); ms = Math.min(2 * ms, MAX_RETRY_DELAY_MS)) await pause(ms);
}
