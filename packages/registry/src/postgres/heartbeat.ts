/**
 * What a server does every second beside its requests: it holds the lock of all writes for a
 * moment, reads the clock and the latest entry behind a barrier, keeps what it saw in its folder,
 * tells the other servers that it is there, and looks whether another host takes writes too.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure } from '@latchkey/runtime/failure';
import { repeat } from '@latchkey/runtime/daemon';
import type { Keys } from '../storage.js';
import type { PostgresHost, ServerIdentity } from './config.js';
import { ask } from './audit-table.js';
import { Connection, formatHost } from './connection.js';
import type { DatabaseClock } from './database-clock.js';
import type { Engine } from './engine.js';
import { NEWEST_SCHEMA, OLDEST_SCHEMA } from './migrations.js';
import { READ_TIMEOUT_MS, SETTINGS } from './session.js';

const INTERVAL_MS = 1_000;
/** Other hosts are asked at every so many of them: each time that takes connections. */
const LOOK_AROUND_EVERY = 5;
/** A server that was not heard of for this long does not run, in ms. */
const HEARD_MS = 3_000;
const POLL_MS = 200;
/** Rows of servers that were not heard of for this long go, in ms. */
const FORGET_MS = 7 * 24 * 3_600_000;

const TELL = `INSERT INTO latchkey.servers AS s (id, name, version, schema_from, schema_to, started_at, seen_at, beat, monotonic, watching)
  VALUES ($1, $2, $3, $4, $5, $6, $6, 1, $7, true)
  ON CONFLICT (id) DO UPDATE SET seen_at = EXCLUDED.seen_at, beat = s.beat + 1, monotonic = EXCLUDED.monotonic`;
const OTHERS = 'SELECT id, beat, monotonic, seen_at FROM latchkey.servers WHERE watching AND seen_at > $1';
const FORGET = 'DELETE FROM latchkey.servers WHERE seen_at < $1';
const WHERE = `SELECT pg_is_in_recovery() AS recovering, (SELECT system_identifier FROM pg_control_system())::text AS system,
  pg_postmaster_start_time()::text AS started`;

/** What it does with the storage. */
interface Pulse {
  holdLock(): Promise<void>;
  read(keys: Keys): Promise<unknown>;
}

interface Beat {
  readonly id: string;
  readonly beat: number;
  readonly monotonic: number;
  readonly seen_at: number;
}

export class Heartbeat {
  readonly #engine: Engine;
  readonly #storage: Pulse;
  readonly #identity: ServerIdentity;
  readonly #id: string = randomUUID();
  #count = 0;
  #fault: string | undefined;
  #stop: (() => void) | undefined;
  #underWay: Promise<void> = Promise.resolve();

  constructor(engine: Engine, storage: Pulse, identity: ServerIdentity) {
    this.#engine = engine;
    this.#storage = storage;
    this.#identity = identity;
  }

  /** Why the last one failed; `undefined`: it did not. */
  get fault(): string | undefined {
    return this.#fault;
  }

  async start(): Promise<void> {
    await this.#beat();
    this.#stop = repeat({
      what: 'to keep in touch with the database',
      everyMs: INTERVAL_MS,
      log: this.#engine.log,
      action: () => {
        this.#underWay = this.#beat();
        return this.#underWay;
      },
    });
  }

  async close(): Promise<void> {
    this.#stop?.();
    await this.#underWay.catch(() => undefined);
    try {
      await this.#engine.lastSeen.save(this.#engine.clock.shared);
      await ask(this.#engine, { text: 'DELETE FROM latchkey.servers WHERE id = $1', values: [this.#id] });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
  }

  async #beat(): Promise<void> {
    const { clock, lastSeen } = this.#engine;
    try {
      await this.#storage.holdLock();
      await this.#storage.read({});
      const { wallMs, monotonicMs } = clock.read();
      const { name, version } = this.#identity;
      await ask(this.#engine, {
        name: 'tell',
        text: TELL,
        values: [this.#id, name, version, OLDEST_SCHEMA, NEWEST_SCHEMA, wallMs, monotonicMs],
      });
      await lastSeen.save(clock.shared);
      if (this.#count % 3_600 === 0) await ask(this.#engine, { text: FORGET, values: [wallMs - FORGET_MS] });
      if (this.#count++ % LOOK_AROUND_EVERY === 0) await this.#lookAround();
      this.#fault = undefined;
      this.#engine.metrics.heartbeatAt = Date.now();
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
      throw error;
    }
  }

  /** Another primary of the same cluster: one of the two loses what it acknowledges. */
  async #lookAround(): Promise<void> {
    const session = this.#engine.connected;
    if (session === undefined || this.#engine.config.hosts.length < 2) return;
    const { place } = session;
    for (const host of this.#engine.config.hosts) {
      if (host === place.host) continue;
      const other = await askPlace(host, session.config, session.credentials);
      if (other === undefined || other.recovering || other.system !== place.system || other.started === place.started) continue;
      this.#engine.fail(
        `both ${formatHost(place.host)} and ${formatHost(host)} take writes: nothing is answered until one of them is shut down and this server is started anew`,
      );
    }
  }
}

/** `undefined`: it does not answer. */
async function askPlace(
  host: PostgresHost,
  ...[config, credentials]: [Parameters<typeof Connection.open>[1], Parameters<typeof Connection.open>[2]]
): Promise<{ readonly recovering: boolean; readonly system: string; readonly started: string } | undefined> {
  let connection: Connection | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    connection = await Connection.open(host, config, credentials, SETTINGS);
    timer = setTimeout(() => connection?.destroy(), READ_TIMEOUT_MS);
    const [result] = await connection.run({ text: WHERE });
    return result?.rows[0] as { readonly recovering: boolean; readonly system: string; readonly started: string };
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    connection?.destroy();
  }
}

/**
 * Takes the servers' monotonic clock from one that runs. It has to be heard of once more: it may
 * have stopped, and the database's clock may have been set since. Where none runs, it goes on as
 * this machine knows it, or begins anew.
 */
export async function shareMonotonicClock(engine: Engine): Promise<void> {
  const { clock, lastSeen } = engine;
  const from = (): number => clock.read().wallMs - HEARD_MS;
  const before = new Map((await beats(engine, from())).map((beat) => [beat.id, beat]));
  for (let left = before.size === 0 ? 0 : HEARD_MS; left > 0; left -= POLL_MS) {
    await pause(POLL_MS);
    const now = await beats(engine, from());
    const again = now.find(({ id, beat }) => beat > (before.get(id)?.beat ?? Infinity));
    if (again === undefined) continue;
    const age = clock.read().wallMs - again.seen_at;
    if (age >= 0 && age <= HEARD_MS) return adopt(clock, again);
  }
  if (!clock.resume(lastSeen.clockBefore)) clock.begin();
}

function adopt(clock: DatabaseClock, { monotonic, seen_at: seenAt }: Beat): void {
  clock.adopt(monotonic, seenAt);
}

async function beats(engine: Engine, since: number): Promise<readonly Beat[]> {
  return (await ask(engine, { text: OTHERS, values: [since] })) as unknown as readonly Beat[];
}
