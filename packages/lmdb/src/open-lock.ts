/**
 * Readers-writer lock that keeps processes from writing to a store while another process opens it
 * (docs/decisions/0014). When LMDB opens a store, it sets the number of the latest transaction to
 * the number that it read a moment before. The next transaction would undo a commit of another
 * process in between, and damage the store.
 *
 * Writers hold `WRITERS_BYTE` shared; LMDB itself admits one of them at a time. An opener first
 * takes `GATE_BYTE`, which stops new writers, and then waits for `WRITERS_BYTE` exclusively. The
 * kernel releases both when a process ends. Without such locks (musl, rarer processors) only one
 * process at a time can have the store open.
 */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure, systemCode } from '@latchkey/runtime/failure';
import { chownToFolderOwner, lockWithSocket, nativeLocks, openLockFile, type SocketLock } from '@latchkey/runtime/files';

const FILE_NAME = 'open.lock';
/** Octets of the file that are locked. */
const GATE_BYTE = 0;
const WRITERS_BYTE = 1;

/** Interval at which a process that keeps writing checks the gate, in ms. */
const GATE_CHECK_INTERVAL_MS = 2;
/** Between two tries, in ms. */
const MIN_RETRY_DELAY_MS = 1;
const MAX_RETRY_DELAY_MS = 16;
/**
 * How long an opener waits for writers, in ms. A writer takes longer only if its process or its
 * disk hangs.
 */
const OPEN_TIMEOUT_MS = 30_000;

export class StoreOpenLock {
  readonly #folder: string;
  readonly #file: FileHandle;
  /** Locks the whole store if the system has no other lock. */
  readonly #socket: SocketLock | undefined;
  /** Transactions in progress in this process. */
  #activeTransactions = 0;
  #gateCheckedAt = -Infinity;
  /** Set while another process opens the store. */
  #openerDone: Promise<void> | undefined;
  #insideTransaction = false;
  #closed = false;

  private constructor(folder: string, file: FileHandle, socket: SocketLock | undefined) {
    this.#folder = folder;
    this.#file = file;
    this.#socket = socket;
  }

  /**
   * @param folder of the store; must exist
   * @throws Failure if another process has the store open and the two cannot share it
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

  /** Whether the action of a transaction runs now. A transaction that it starts is part of it. */
  get isInside(): boolean {
    return this.#insideTransaction;
  }

  /**
   * Runs `action`, which opens the store, while no process writes. Throws a Failure if a writer
   * does not finish.
   */
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
   * Runs `start`, which starts a transaction: at once, or after another process has opened the
   * store.
   *
   * @param start its promise resolves when the transaction is durable
   */
  shared<T>(start: () => Promise<T>): Promise<T> {
    // Inside the action of a transaction the lock is held already. A closed store reports that
    // itself.
    if (this.#insideTransaction || this.#closed) return start();
    if (this.#openerDone === undefined && this.#tryEnter()) return this.#runCounted(start);
    this.#openerDone ??= this.#waitForOpener();
    return this.#openerDone.then(() => this.shared(start));
  }

  /** Wraps the action of a transaction, so that a transaction that it starts is part of it. */
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
      // Reset after a failure, too: the next caller tries the lock again.
      this.#openerDone = undefined;
    }
  }

  /** Returns whether the lock was obtained. */
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

/** Retries until `isDone` returns true, with doubled delays. */
async function retryUntil(isDone: () => boolean): Promise<void> {
  for (let ms = MIN_RETRY_DELAY_MS; !isDone(); ms = Math.min(2 * ms, MAX_RETRY_DELAY_MS)) await pause(ms);
}
