/**
 * The heartbeat of a server, once a second. It holds the lock of all writes for a moment, and reads
 * the clock and the latest entry behind a barrier. It saves what it read in the server's folder,
 * and announces the server to the others. It also checks whether another host takes writes.
 */

import { randomUUID } from 'node:crypto';
import type { Clocks } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { repeat } from '@latchkey/runtime/daemon';
import type { Keys } from '../storage.js';
import type { PostgresConfig, PostgresHost, ServerIdentity } from './config.js';
import { ask } from './audit-table.js';
import { type Credentials, formatHost, type SqlResult, type Statement } from './connection.js';
import type { Engine } from './engine.js';
import { type DatabaseConnection, type Environment, pause } from './environment.js';
import { NEWEST_SCHEMA, OLDEST_SCHEMA } from './migrations.js';
import { type Place, READ_TIMEOUT_MS, SETTINGS } from './session.js';

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
/** A standby is on the timeline up to which it must replay, at least. */
const WHERE = `SELECT pg_is_in_recovery() AS recovering, (SELECT system_identifier FROM pg_control_system())::text AS system,
  pg_postmaster_start_time()::text AS started, greatest((SELECT timeline_id FROM pg_control_checkpoint()),
  (SELECT min_recovery_end_timeline FROM pg_control_recovery())) AS timeline`;

/** Runs statements under the lock of all writes, then writes the result of the decision on them. */
export type WriteUnderLock = <T>(
  asks: readonly Statement[],
  decide: (answers: readonly SqlResult[]) => { readonly result: T; readonly statements?: readonly Statement[] },
) => Promise<T>;

/** What it does with the storage. */
interface Pulse {
  holdLock(): Promise<void>;
  writeUnderLock: WriteUnderLock;
  read(keys: Keys): Promise<unknown>;
}

/** What another host of the cluster says of itself. */
interface OtherPlace {
  readonly recovering: boolean;
  readonly system: string;
  readonly started: string;
  readonly timeline: number;
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
  #lookingAround: Promise<void> | undefined;

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
    await this.#shareClock();
    await this.#beat();
    this.#stop = repeat({
      what: 'to keep in touch with the database',
      everyMs: INTERVAL_MS,
      log: this.#engine.log,
      every: this.#engine.environment.every,
      action: () => {
        this.#underWay = this.#beat();
        return this.#underWay;
      },
    });
    await this.#lookingAround;
  }

  async close(): Promise<void> {
    this.#stop?.();
    await this.#underWay.catch(() => undefined);
    await this.#lookingAround;
    try {
      await this.#engine.lastSeen.save(this.#engine.clock.shared);
      await ask(this.#engine, { text: 'DELETE FROM latchkey.servers WHERE id = $1', values: [this.#id] });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
  }

  /**
   * Adopts the servers' monotonic clock from a running server. If none runs, begins a new clock and
   * announces it, under the lock of all writes. Of several servers that start together one
   * therefore begins the clock, and the others adopt it. With separate clocks, each server would
   * take the others' saved times for a discontinuity.
   */
  async #shareClock(): Promise<void> {
    const { clock, lastSeen } = this.#engine;
    const silent = new Map<string, number>();
    for (;;) {
      const { heard, ahead } = await this.#storage.writeUnderLock([lookForOthers(this.#engine)], ([found]) => {
        const others = ((found?.rows ?? []) as unknown as readonly Beat[]).filter(({ id, beat }) => silent.get(id) !== beat);
        if (others.length > 0) return { result: { heard: others, ahead: 0 } };
        const own = clock.resumed(lastSeen.clockBefore) ?? clock.begun();
        return { result: { heard: others, ahead: own }, statements: [this.#telling(clock.readAhead(own))] };
      });
      if (heard.length === 0) {
        clock.share(ahead);
        return;
      }
      const again = await hearAgain(this.#engine, heard);
      if (again !== undefined) {
        clock.adopt(again.monotonic, again.seen_at);
        return;
      }
      for (const { id, beat } of heard) silent.set(id, beat);
    }
  }

  #telling({ wallMs, monotonicMs }: Clocks): Statement {
    const { name, version } = this.#identity;
    const values = [this.#id, name, version, OLDEST_SCHEMA, NEWEST_SCHEMA, wallMs, monotonicMs];
    return { name: 'tell', text: TELL, values };
  }

  async #beat(): Promise<void> {
    const { clock, lastSeen } = this.#engine;
    try {
      await this.#storage.holdLock();
      await this.#storage.read({});
      const { wallMs } = clock.read();
      await ask(this.#engine, this.#telling(clock.read()));
      await lastSeen.save(clock.shared);
      if (this.#count % 3_600 === 0) await ask(this.#engine, { text: FORGET, values: [wallMs - FORGET_MS] });
      // Not waited for: a host that does not answer would keep others from hearing of this server.
      if (this.#count++ % LOOK_AROUND_EVERY === 0)
        this.#lookingAround ??= this.#lookAround().finally(() => {
          this.#lookingAround = undefined;
        });
      this.#fault = undefined;
      this.#engine.metrics.heartbeatAt = Date.now();
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
      throw error;
    }
  }

  /**
   * Stops this server if another primary of the same cluster exists, or a standby of one. One of
   * the two primaries will lose acknowledged writes.
   */
  async #lookAround(): Promise<void> {
    const session = this.#engine.connected;
    if (session === undefined) return;
    const { place, config, credentials } = session;
    const others = config.hosts.filter((host) => host !== place.host);
    const rivals = await Promise.all(
      others.map(async (host) => describeRival(place, host, await askPlace(this.#engine.environment, host, config, credentials))),
    );
    const rival = rivals.find((one) => one !== undefined);
    if (rival === undefined) return;
    // In a failover the former primary may have gone just now: this one must still take a commit.
    const takesCommits = await this.#storage.read({}).then(
      () => this.#engine.connected === session,
      () => false,
    );
    if (takesCommits)
      this.#engine.fail(`${rival}: nothing is answered until one of them is shut down and this server is started anew`);
  }
}

/** How another host contradicts that `place` is the primary; `undefined`: it does not. */
function describeRival(place: Place, host: PostgresHost, other: OtherPlace | undefined): string | undefined {
  if (other?.system !== place.system || other.started === place.started) return undefined;
  if (!other.recovering) return `both ${formatHost(place.host)} and ${formatHost(host)} take writes`;
  if (other.timeline <= place.timeline) return undefined;
  return `${formatHost(host)} follows another primary on timeline ${other.timeline}, and ${formatHost(place.host)} takes writes on timeline ${place.timeline}`;
}

/** `undefined`: it does not answer. */
async function askPlace(
  { connect, after }: Environment,
  host: PostgresHost,
  config: PostgresConfig,
  credentials: Credentials,
): Promise<OtherPlace | undefined> {
  let connection: DatabaseConnection | undefined;
  let cancel: () => void = () => undefined;
  try {
    connection = await connect(host, config, credentials, SETTINGS);
    cancel = after(READ_TIMEOUT_MS, () => connection?.destroy());
    const [result] = await connection.run({ text: WHERE });
    return result?.rows[0] as unknown as OtherPlace | undefined;
  } catch {
    return undefined;
  } finally {
    cancel();
    connection?.destroy();
  }
}

/**
 * Adopts the servers' monotonic clock from a running server, for a process that does not serve. If
 * none runs, continues the clock that this machine saved, or begins a new one.
 */
export async function followMonotonicClock(engine: Engine): Promise<void> {
  const { clock, lastSeen } = engine;
  const again = await hearAgain(engine, await beats(engine));
  if (again === undefined) clock.share(clock.resumed(lastSeen.clockBefore) ?? clock.begun());
  else clock.adopt(again.monotonic, again.seen_at);
}

/**
 * Returns one of these servers that sent a second heartbeat, or `undefined`. A server without one
 * may have stopped, and the database's clock may have been set since.
 */
async function hearAgain(engine: Engine, heard: readonly Beat[]): Promise<Beat | undefined> {
  const before = new Map(heard.map(({ id, beat }) => [id, beat]));
  const heardMs = HEARD_MS * engine.patience;
  for (let left = before.size === 0 ? 0 : heardMs; left > 0; left -= POLL_MS) {
    await pause(engine.environment, POLL_MS);
    const again = (await beats(engine)).find(({ id, beat }) => beat > (before.get(id) ?? Infinity));
    if (again === undefined) continue;
    const age = engine.clock.read().wallMs - again.seen_at;
    if (age >= 0 && age <= heardMs) return again;
  }
  return undefined;
}

/** Servers that were heard of lately. */
function lookForOthers(engine: Engine): Statement {
  return { name: 'others', text: OTHERS, values: [engine.clock.read().wallMs - HEARD_MS * engine.patience] };
}

async function beats(engine: Engine): Promise<readonly Beat[]> {
  return (await ask(engine, lookForOthers(engine))) as unknown as readonly Beat[];
}
