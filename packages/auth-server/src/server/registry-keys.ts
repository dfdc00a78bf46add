/**
 * Keeps a store of application roots true to the registry, for the key sockets of an auth-server:
 * all nodes once, then those that the audit log names. The store keeps former generations, which
 * the registry does not.
 */

import { setImmediate as yieldToOthers, setTimeout as pause } from 'node:timers/promises';
import type { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { feedEntryOf, FIRST_CURSOR, type KeyFeedEntry } from '@latchkey/protocol';
import { type AuditAction, chunksOf, type Head, type Registry } from '@latchkey/registry';
import { type Clock, type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';

/** Poll interval of the audit log, in ms: other processes write to it as well. */
const POLL_INTERVAL_MS = 1_000;
/** After a join here, in ms: others come at the same time. */
const GATHER_MS = 50;
/** After this time without a complete poll, in ms, the keys count as unverified. */
const VERIFIED_FOR_MS = 60_000;
const NODES_PER_READ = 256;
/** Pages on their way to the disk. At the bound it waits for the disk. */
const MAX_UNWRITTEN_PAGES = 16;
/** Entries of the audit log whose nodes are written together: each write waits for a sync. */
const MAX_ENTRIES_PER_WRITE = 4_096;
const HASH_BITS = 256n;
const HASH_DIGITS = 64;

/** They name a node, and its key stays as it is. */
const ABOUT_NO_KEY: ReadonlySet<AuditAction> = new Set<AuditAction>(['node described']);

export interface RegistryKeysOptions {
  readonly registry: Registry;
  readonly store: ApplicationRootStore;
  readonly clock: Clock;
  readonly log: Log;
}

export class RegistryKeys {
  readonly #registry: Registry;
  readonly #store: ApplicationRootStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rateLimitedLog: RateLimitedLog;
  readonly #stopped = new AbortController();
  readonly #startedAt: number;
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  /** When the store was last complete, by the monotonic clock. */
  #completeAt: number | undefined;

  constructor({ registry, store, clock, log }: RegistryKeysOptions) {
    this.#registry = registry;
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#rateLimitedLog = new RateLimitedLog(log);
    this.#startedAt = performance.now();
    store.isVerified = () => this.#completeAt !== undefined && performance.now() - this.#completeAt <= VERIFIED_FOR_MS;
    store.isWithdrawn = () => false;
    store.loadDue();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Looks at the registry soon. */
  wake(): void {
    this.#wake.abort();
  }

  /** Why the keys are not confirmed; `undefined` if they are, or may still be soon. */
  fault(): string | undefined {
    const seconds = Math.round((performance.now() - (this.#completeAt ?? this.#startedAt)) / 1_000);
    return 1_000 * seconds <= VERIFIED_FOR_MS
      ? undefined
      : `the registry has not confirmed the keys of the key sockets for ${seconds} s; they are given out as unverified`;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      try {
        await this.#follow();
        await this.#store.forgetOld();
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        this.#rateLimitedLog.warn('keys', { advice: error.advice }, `the key sockets are behind: ${error.message}`);
      }
      // `stop` aborts this as well. A signal of both would be kept by `signal`, one a turn.
      await sleep(POLL_INTERVAL_MS, this.#wake.signal);
      await sleep(GATHER_MS, signal);
    }
  }

  async #follow(): Promise<void> {
    const { audit } = this.#registry;
    await this.#registry.refresh();
    const head = await audit.readHead();
    if (head === undefined) return;
    const reached = headOf(this.#store.feedProgress.cursor);
    if (!isSame(reached, head)) {
      // Another log than it was: the registry was restored, or the entry was pruned.
      if (reached === undefined || !isSame(await audit.readHeadAt(reached.seq), reached)) await this.#readAll(head);
      else await this.#readChanges(reached, head);
    }
    if (!this.#stopped.signal.aborted) this.#completeAt = performance.now();
  }

  async #readChanges(from: Head, to: Head): Promise<void> {
    const { audit } = this.#registry;
    const ids = new Set<number>();
    let [written, next] = [from.seq, from.seq + 1];
    for await (const page of audit.entryPages(next)) {
      if (this.#stopped.signal.aborted) return;
      const last = page.at(-1);
      if (last === undefined || page[0]?.seq !== next || last.seq - next + 1 !== page.length) break;
      next = last.seq + 1;
      for (const { node, what } of page) if (node !== undefined && !ABOUT_NO_KEY.has(what)) ids.add(parseInt(node, 16));
      if (last.seq < to.seq && last.seq - written < MAX_ENTRIES_PER_WRITE) continue;
      const reached = await audit.readHeadAt(last.seq);
      if (reached === undefined) break;
      // One after the other: a write must not be overtaken by one that read the node earlier.
      await this.#apply([...ids], cursorOf(reached));
      if (reached.seq >= to.seq) return;
      written = reached.seq;
      ids.clear();
    }
    // Entries were pruned since, and may have named any node.
    await this.#readAll(to);
  }

  /**
   * Reads every node that has joined, then re-reads the nodes that only the store has. A change
   * during the reads has an entry after `head`.
   */
  async #readAll(head: Head): Promise<void> {
    this.#log.info('reading the keys of all nodes for the key sockets');
    const { signal } = this.#stopped;
    const unwritten: Promise<void>[] = [];
    // Waits for all writes: a late page must not undo a write of the next round.
    const allWritten = async (): Promise<void> => {
      for (const outcome of await Promise.allSettled(unwritten.splice(0)))
        if (outcome.status === 'rejected') throw outcome.reason;
    };
    const apply = async (ids: readonly number[]): Promise<void> => {
      const written = this.#apply(ids, FIRST_CURSOR);
      // It may fail before anybody waits for it: a rejection without a handler ends the process.
      written.catch(() => undefined);
      unwritten.push(written);
      if (unwritten.length >= MAX_UNWRITTEN_PAGES) await allWritten();
    };
    try {
      for await (const page of this.#registry.nodePages()) {
        if (signal.aborted) return;
        await apply(page.filter(({ initial }) => !initial).map(({ idI }) => idI));
      }
      for (const ids of chunksOf(this.#store.ids(), NODES_PER_READ)) {
        if (signal.aborted) return;
        await apply(ids);
      }
    } finally {
      await allWritten();
    }
    await this.#apply([], cursorOf(head));
  }

  /** Writes the current state of these nodes, and the cursor. */
  async #apply(ids: readonly number[], cursor: bigint): Promise<void> {
    const { wallMs } = this.#clock();
    const entries: KeyFeedEntry[] = [];
    try {
      for (const part of chunksOf(ids, NODES_PER_READ)) {
        if (entries.length > 0) await yieldToOthers();
        entries.push(...(await this.#entriesOf(part, wallMs)));
      }
    } catch (error) {
      for (const { applicationRoot } of entries) applicationRoot?.wipe();
      throw error;
    }
    await this.#store.applyPage({ entries, retains: undefined }, { cursor, confirmedAt: wallMs });
  }

  async #entriesOf(ids: readonly number[], wallMs: number): Promise<KeyFeedEntry[]> {
    const nodes = new Map((await this.#registry.describedNodes(ids)).map(({ node }) => [node.idI, node]));
    return ids.map((idI) => {
      const node = nodes.get(idI);
      const entry = feedEntryOf(idI, node, node?.controller ?? 0, node?.committed?.tid ?? 0n, wallMs);
      node?.key.wipe();
      return entry;
    });
  }
}

/** A cursor holds the number of an entry and its hash, which no other history has. */
function cursorOf({ seq, hash }: Head): bigint {
  return (BigInt(seq) << HASH_BITS) | BigInt(`0x${hash}`);
}

function headOf(cursor: bigint): Head | undefined {
  if (cursor === FIRST_CURSOR) return undefined;
  const hash = BigInt.asUintN(Number(HASH_BITS), cursor).toString(16).padStart(HASH_DIGITS, '0');
  return { seq: Number(cursor >> HASH_BITS), hash };
}

function isSame(one: Head | undefined, other: Head): boolean {
  return one?.seq === other.seq && one.hash === other.hash;
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await pause(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
