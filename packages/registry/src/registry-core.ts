/**
 * Base of all parts of the registry: its storage engine, the keys in it, the actor and the clock of
 * this process, and writes to it.
 */

import { randomBytes } from 'node:crypto';
import { announceAdoption, KEY_KIND, type KeyContext, type Keyring } from '@latchkey/keyring';
import { type ClockHistory, KEY_LENGTH, Secret, type TimeRange } from '@latchkey/protocol';
import { type Clock, type ProcessTime, readClock, serverTime } from '@latchkey/runtime/daemon';
import { isoTime } from '@latchkey/runtime/iso-time';
import type { Actor, AttributedEvent, AuditEvent } from './audit-chain.js';
import { AuditLog } from './audit-log.js';
import { withoutDoubt } from './doubt.js';
import type { NodeDescription, NodeRow } from './model/rows.js';
import { type Keys, type Outcome, type Page, type RegistryStorage, type Snapshot } from './storage.js';
import type { StorageMetadata } from './storage-metadata.js';

const TRANSACTION_KEY: KeyContext = { kind: KEY_KIND.transactionKey, id: 0 };
const NEVER: AbortSignal = new AbortController().signal;
export const INITIAL_KEY_ID_KEY: KeyContext = { kind: KEY_KIND.initialKeyId, id: 0 };

/** A registry that was put back from a backup. Times are ms since the epoch. */
export interface Restored {
  readonly at: number;
  /** When the backup was made. */
  readonly backupAt: number;
  /** The audit entry of the restore. */
  readonly entry: number;
}

/**
 * The outcome of a write to this registry. Each event has its actor, and the current time unless it
 * names one.
 */
export interface Decision<T> extends Omit<Outcome<T>, 'events'> {
  readonly events?: readonly (AuditEvent & { readonly at?: number })[];
}

/** What must hold when a change is written. */
export interface Precondition {
  /** Keys that it reads. */
  readonly keys: Pick<Keys, 'nodes' | 'nodeDescriptions' | 'controllers' | 'orders'>;
  /** Throws if it does not hold. Like a decision it has no side effects. */
  readonly check: (found: Snapshot) => void;
}

/** An open storage engine, and what opens the keys in it. */
export interface Opened {
  readonly storage: RegistryStorage;
  readonly metadata: StorageMetadata;
  readonly keyring: Keyring;
  /** Names the registry in messages. */
  readonly folder: string;
  readonly actor: Actor;
  readonly clock: Clock | undefined;
  /** Left out: that of this process. */
  readonly time?: ProcessTime | undefined;
  /** Of each write. */
  readonly precondition?: Precondition | undefined;
  /** Ends walks through its tables, between two pages. */
  readonly signal?: AbortSignal | undefined;
  /** The registry that this one is a view of. */
  readonly original?: RegistryCore | undefined;
}

export class RegistryCore {
  readonly storage: RegistryStorage;
  /** Names the registry in messages, and is where its store is. */
  readonly folder: string;
  /** Who makes the changes. */
  readonly actor: Actor;
  readonly keyring: Keyring;
  readonly audit: AuditLog;
  /** What a keyring knows of this registry, to replace its master key. */
  readonly metadata: StorageMetadata;
  /**
   * Called before this process reports that it has adopted a master key. The callback must reseal
   * everything else under this keyring: the former key may be erased afterwards.
   */
  beforeAdoption: () => Promise<void> = () => Promise.resolve();
  protected readonly opened: Opened;
  /**
   * That of the servers: of the database, or of this machine. What they noted is judged by no other
   * one.
   */
  readonly clock: Clock;
  #transactionKey: Secret | undefined;

  protected constructor(opened: Opened) {
    const { storage, metadata, keyring, folder, actor, clock = readClock, signal } = opened;
    this.opened = opened;
    this.storage = storage;
    this.metadata = metadata;
    this.keyring = keyring;
    this.folder = folder;
    this.actor = actor;
    this.clock = clock;
    this.audit = new AuditLog(storage, signal);
  }

  /**
   * Reads the rows under `keys` in one snapshot.
   *
   * @param look must be synchronous: an engine may read a row only when it is accessed
   */
  async read<T>(keys: Keys, look: (found: Snapshot) => T): Promise<T> {
    const found = this.storage.read(keys);
    return look(found instanceof Promise ? await found : found);
  }

  /**
   * Writes like the storage's `write`, with this registry's keys. The decision may seal and unseal,
   * and `rotate` may have replaced the master key before it. A write in doubt is looked up, and
   * repeated if it did not happen.
   *
   * @throws InDoubt if it has no event, or its outcome stays unknown for a minute
   */
  write<T>(keys: Keys, decide: (found: Snapshot) => Decision<T>): Promise<T> {
    if (this.storage.mayDoubt !== true) return this.writeOnce(keys, decide);
    const { time } = this.opened;
    return withoutDoubt<T>({
      write: (operation, decided) =>
        this.writeOnce(keys, (found) => {
          const { events: [first, ...rest] = [], ...decision } = decide(found);
          decided({ result: decision.result, entry: first && found.head.seq + 1 });
          return first === undefined ? decision : { ...decision, events: [{ ...first, operation }, ...rest] };
        }),
      readEntry: async (number) => {
        await this.refresh();
        return this.audit.readEntry(number);
      },
      time: time && { now: time.now, pause: (ms) => time.pause(ms, NEVER) },
    });
  }

  /** Like `write`, for a caller that repeats the write itself. */
  protected writeOnce<T>(keys: Keys, decide: (found: Snapshot) => Decision<T>): Promise<T> {
    const { precondition } = this.opened;
    const all = precondition === undefined ? keys : withKeys(keys, precondition.keys);
    return this.storage.write(this.#withMasterKey(all), (found) =>
      this.decide(found, () => {
        precondition?.check(found);
        return this.#attributed(decide(found));
      }),
    );
  }

  /** As the storage's `load`. */
  load(
    order: number,
    keys: Keys,
    rowsOf: (found: Snapshot) => Page<NodeRow>,
    descriptions?: Page<NodeDescription>,
  ): Promise<void> {
    const sealed = (found: Snapshot): Page<NodeRow> => {
      let rows: Page<NodeRow> = [];
      this.decide(found, () => {
        rows = rowsOf(found);
        return { result: undefined };
      });
      return rows;
    };
    return this.storage.load(order, this.#withMasterKey(keys), sealed, descriptions);
  }

  #withMasterKey(keys: Keys): Keys {
    return { ...keys, metadata: [...(keys.metadata ?? []), 'master key'] };
  }

  #attributed<T>({ events, ...outcome }: Decision<T>): Outcome<T> {
    if (events === undefined) return outcome;
    const at = Date.now();
    const attributed: AttributedEvent[] = [];
    for (const event of events) attributed.push({ at, ...event, actor: this.actor });
    return { ...outcome, events: attributed };
  }

  /**
   * Later reads of the audit log include every write that was acknowledged before, also of another
   * process. A synchronous engine ensures it immediately.
   */
  async refresh(): Promise<void> {
    await this.storage.read({});
  }

  /** Records an event without a change of a row. */
  async record(event: AuditEvent): Promise<void> {
    await this.write({}, () => ({ result: undefined, events: [event] }));
  }

  /** Makes the decision of a write, after whatever others did to the master key. */
  protected decide<T>(found: Snapshot, decision: () => Outcome<T>): Outcome<T> {
    return this.metadata.decide(found, () => {
      this.keyring.reload();
      return decision();
    });
  }

  get restored(): Restored | undefined {
    return this.metadata.get('restored') as Restored | undefined;
  }

  /** The latest time that a change or a server saw, ms since the epoch. */
  readLastWallClock(): Promise<number> {
    return this.read({ metadata: ['last wall clock'] }, latestWall);
  }

  /** Clock history of the servers as last read or written here, for callers that cannot wait. */
  get clockHistory(): ClockHistory {
    return this.metadata.get('clock history') as ClockHistory;
  }

  /**
   * What the clocks of the servers showed. A server writes it every half minute while it runs:
   * `savedAt` is unset if none ever ran.
   */
  readClockHistory(): Promise<ClockHistory> {
    return this.read({ metadata: ['clock history'] }, (found) => found.metadata('clock history') as ClockHistory);
  }

  /**
   * The time by the servers' clock, ms since the epoch, whatever the clock of this process shows.
   * What was found has the metadata `clock history`.
   */
  timeOfServers(found: Snapshot): number {
    return serverTime(found.metadata('clock history') as ClockHistory, this.clock());
  }

  /**
   * Stores the changed `times`, and returns them once they are durable. `wall`: the current time.
   * `discontinuity`: the reason for a discontinuity before it.
   */
  async saveClockHistory(
    change: (history: ClockHistory) => ClockHistory,
    wall: number,
    discontinuity?: string,
  ): Promise<ClockHistory> {
    return this.writeOnce({ metadata: ['clock history', 'last wall clock'] }, (found) => {
      const history = change(found.metadata('clock history') as ClockHistory);
      const put = {
        metadata: [['clock history', history] as const, ['last wall clock', Math.max(wall, latestWall(found))] as const],
      };
      if (discontinuity === undefined) return { result: history, put };
      return { result: history, put, events: [{ what: 'clock discontinuity', note: discontinuity, at: wall }] };
    });
  }

  /** M7s of the times that `select` names count again. Gives those. */
  async releaseClockRanges(select: (history: ClockHistory) => readonly TimeRange[]): Promise<readonly TimeRange[]> {
    return this.write({ metadata: ['clock history'] }, (found) => {
      const history = found.metadata('clock history') as ClockHistory;
      const released = select(history);
      if (released.length === 0) return { result: released };
      const previous = history.previous.filter(
        ({ from, until }) => !released.some((span) => span.from === from && span.until === until),
      );
      const note = released.map(({ from, until }) => `${isoTime(from)} to ${isoTime(until)}`).join(', ');
      const put = { metadata: [['clock history', { ...history, previous }] as const] };
      return { result: released, put, events: [{ what: 'clock released', note }] };
    });
  }

  /** Resolves when the disk has taken a write. Throws a Failure where it does not. */
  async probe(wall: number): Promise<void> {
    await this.write({ metadata: ['last wall clock'] }, (found) => ({
      result: undefined,
      put: { metadata: [['last wall clock', Math.max(wall, latestWall(found))]] },
    }));
  }

  /**
   * TK, from which the RN_c comes that nodes of pass-through controllers see. Only a restore
   * replaces it.
   */
  get transactionKey(): Secret {
    const { original } = this.opened;
    if (original !== undefined) return original.transactionKey;
    this.#transactionKey ??= this.keyring.unseal(TRANSACTION_KEY, this.metadata.get('transaction key') as Uint8Array);
    return this.#transactionKey;
  }

  /** Makes TK for a registry that was made before there was one. */
  protected async ensureTransactionKey(): Promise<void> {
    if (this.metadata.get('transaction key') !== undefined) return;
    await this.write({ metadata: ['transaction key'] }, (found) =>
      found.metadata('transaction key') === undefined
        ? { result: undefined, put: { metadata: [['transaction key', drawTransactionKey(this.keyring)]] } }
        : { result: undefined },
    );
  }

  /** Key that identifies IKs, even after they are erased. The caller wipes it. */
  initialKeyIdKey(): Secret {
    return this.keyring.unseal(INITIAL_KEY_ID_KEY, this.metadata.get('initial key id key') as Uint8Array);
  }

  /** Periodic maintenance of a server, once a minute. */
  async maintain(): Promise<void> {
    await this.storage.maintain();
  }

  /**
   * Announces that this process serves, and under which master key. Announces again after each
   * change of the key.
   */
  async announceAdoption(): Promise<void> {
    this.keyring.reload();
    await this.beforeAdoption();
    await announceAdoption(this.metadata, this.keyring, (action) =>
      this.write({}, () => {
        action();
        return { result: undefined };
      }),
    );
  }

  async close(): Promise<void> {
    await this.storage.close();
    this.keyring.wipe();
    this.#transactionKey?.wipe();
  }
}

function withKeys(keys: Keys, more: Precondition['keys']): Keys {
  const { nodes = [], nodeDescriptions = [], controllers = [], orders = [] } = more;
  return {
    ...keys,
    nodes: [...(keys.nodes ?? []), ...nodes],
    nodeDescriptions: [...(keys.nodeDescriptions ?? []), ...nodeDescriptions],
    controllers: [...(keys.controllers ?? []), ...controllers],
    orders: [...(keys.orders ?? []), ...orders],
  };
}

/** What was found has the metadata `last wall clock`. */
function latestWall(found: Snapshot): number {
  return Math.max(found.head.at, (found.metadata('last wall clock') as number | undefined) ?? 0);
}

export function drawKey(): Secret {
  const octets = randomBytes(KEY_LENGTH);
  const key = Secret.from(octets);
  octets.fill(0);
  return key;
}

/** A new TK, sealed. */
export function drawTransactionKey(keyring: Keyring): Uint8Array {
  const key = drawKey();
  const sealed = keyring.seal(TRANSACTION_KEY, key);
  key.wipe();
  return sealed;
}
