/**
 * A registry that several auth-servers use, as in PostgreSQL: the real engine of packages/registry
 * on a simulated cluster. The engine includes connections, reads, writes, heartbeat, clock, and the
 * detection of a loss. The oracle gets each visible row, and checks two more promises. A write that
 * a server took for durable is never lost, and each write has the outcome that its caller got.
 */

import { KEY_KIND } from '@latchkey/keyring';
import type { Clocks, Secret } from '@latchkey/protocol';
import { type AuditEvent, Registry } from '@latchkey/registry';
import {
  connectStorage,
  type Decide,
  type Engine,
  InDoubt,
  type Keys,
  NEWEST_SCHEMA,
  NODES,
  parseEntry,
  parseKept,
  type PostgresConfig,
  type PostgresStorage,
  type Seen,
  type Snapshot,
  type SqlRow,
  verifyChain,
} from '@latchkey/registry/postgres/simulation';
import type { Log } from '@latchkey/runtime/daemon';
import { keyText } from '../key-text.js';
import type { Process } from '../process.js';
import { type InitialContents, type RegistryRow, SimulatedRegistry } from '../simulated-registry.js';
import { type Simulation, Violation } from '../simulation.js';
import { Cluster, type DatabaseIncident } from './cluster.js';
import type { DatabaseRules } from './rules.js';
import { Link, type LinkConditions } from './link.js';
import type { Change } from './tables.js';

const HASH_LENGTH = 32;
/** An M3 is answered from a read that is no older than this, in ms. */
const MAX_READ_AGE_MS = 3_100;
/** How often an operator looks after servers that have stopped for good, in ms. */
const OPERATOR_INTERVAL_MS = 10_000;
/** The world does not begin before the registry is made; no longer than this, in ms. */
const CREATION_MS = 60_000;

/** Where a process runs. */
export interface Machine {
  readonly process: Process;
  readonly log: Log;
  /** The monotonic clock of the machine, in ms. */
  readonly monotonicNow: () => number;
  readonly bootId: () => string;
  /** Not a server. */
  readonly isCommand?: true;
}

interface Client {
  readonly machine: Machine;
  readonly link: Link;
  /** The file in its data folder. */
  kept: string | undefined;
  storage: PostgresStorage | undefined;
  /** The latest entry that this run has seen behind a barrier. */
  seenSeq: number;
}

/** What the caller of a write was told. */
interface ToldWrite {
  readonly who: string;
  readonly seq: number;
  readonly event: AuditEvent & { readonly at: number };
  readonly happened: boolean;
}

/** What a node's controller could be given. */
interface Servable {
  readonly at: number;
  readonly key: string;
  readonly controller: number;
  readonly isPassThrough: boolean;
}

export class SharedRegistry extends SimulatedRegistry {
  readonly cluster: Cluster;
  readonly #simulation: Simulation;
  readonly #conditions: LinkConditions;
  readonly #rules: DatabaseRules;
  readonly #administratorsMachine: Machine;
  readonly #clients = new Map<Process, Client>();
  /** Entries that a server has taken for durable: hash by number. */
  readonly #durable = new Map<number, string>();
  readonly #told: ToldWrite[] = [];
  readonly #servable = new Map<number, Servable[]>();
  #isMade = false;
  #onFault: () => void = () => undefined;

  constructor(
    simulation: Simulation,
    conditions: LinkConditions,
    rules: DatabaseRules,
    clockError: () => number,
    administratorsMachine: Machine,
  ) {
    super(simulation, { stallProbability: 0, stallMs: [0], failureProbability: 0 }, () => ({ wallMs: 0, monotonicMs: 0 }));
    this.#simulation = simulation;
    this.#conditions = conditions;
    this.#rules = rules;
    this.#administratorsMachine = administratorsMachine;
    this.cluster = new Cluster(simulation, {
      wall: () => simulation.trueTime + clockError(),
      onVisible: (changes) => this.#changed(changes),
      onPromoted: () => this.#promoted(),
      onFault: () => this.#onFault(),
    });
  }

  /** Told of whatever befalls the database, or the way there. */
  set onFault(action: () => void) {
    this.#onFault = action;
  }

  override async create(contents: InitialContents): Promise<void> {
    const { events } = this.#simulation;
    const incarnation = this.#simulation.random('registry incarnations').below(2 ** 27 - 1) + 1;
    const row = {
      one: true,
      id: '00000000-0000-4000-8000-000000000001',
      schema: NEWEST_SCHEMA,
      epoch: 1,
      lost: null,
      metadata_version: 1,
      key_feed_incarnation: incarnation,
      audit_start_seq: 0,
      audit_start_hash: Buffer.alloc(HASH_LENGTH),
    };
    this.cluster.putInitially([{ table: 'registry', key: 'one', row }]);
    this.#simulation.run(async () => {
      const storage = await this.#connect(this.#administratorsMachine);
      this.opened = await Registry.createOn(
        storage,
        'registry',
        () => Promise.resolve(this.master.copy()),
        'administrator',
        storage.clock,
      );
      await this.fill(this.opened, contents);
      this.#isMade = true;
    });
    do await this.#simulation.settle();
    while (!this.#hasBegun() && events.step(CREATION_MS));
    if (!this.#hasBegun()) throw new Error('the registry was not made');
    this.#promoted();
    this.#watchServers();
  }

  #hasBegun(): boolean {
    return this.#isMade;
  }

  /** For a process that serves from it, with the clock that it goes by. */
  async serve(machine: Machine): Promise<{ readonly registry: Registry; readonly clock: () => Clocks }> {
    const storage = await this.#connect(machine);
    const time = machine.process.time('goes on after a while');
    const { name } = machine.process;
    const registry = await Registry.openOn(storage, 'registry', this.master.copy(), name, storage.clock, time);
    return { registry, clock: storage.clock };
  }

  /** The process is gone, and with a loss of power its machine. */
  crash(process: Process, isMachineGone: boolean): void {
    const client = this.#clients.get(process);
    if (client === undefined) return;
    client.link.crash(isMachineGone);
    client.storage = undefined;
  }

  /** Returns true if the database answers this server, as far as the server knows. */
  isServing(process: Process): boolean {
    const storage = this.#clients.get(process)?.storage;
    return storage !== undefined && storage.fault() === undefined && this.cluster.isCalm;
  }

  apply(name: string, incident: DatabaseIncident): void {
    const servers = [...this.#clients.values()].filter(({ machine }) => machine.isCommand === undefined);
    this.cluster.apply(
      name,
      incident,
      servers.map(({ machine }) => machine.process),
      (seq) => servers.every(({ storage, seenSeq }) => storage !== undefined && storage.fault() === undefined && seenSeq >= seq),
    );
  }

  override isPassThrough(idC: number): boolean {
    return this.cluster.tables.get('controllers', String(idC))?.['pass_through'] === true;
  }

  /** Invariants 4 and 8: at some moment of the read that is answered from, all of it was so. */
  checkServed(idI: number, idC: number, key: Secret): void {
    const since = this.#simulation.now - MAX_READ_AGE_MS;
    const states = this.#servable.get(idI) ?? [];
    const text = keyText(key);
    const was = states.some(({ controller, isPassThrough, key: had }, i) => {
      const until = states[i + 1]?.at ?? Infinity;
      return until >= since && controller === idC && !isPassThrough && had === text;
    });
    if (!was) throw new Violation(4, `the server gives c${idC} a key of node n${idI} which it was at no moment to be given`);
  }

  /** What was promised holds to the end. */
  async check(): Promise<void> {
    const { tables } = this.cluster;
    this.#checkDurable();
    for (const { who, seq, event, happened } of this.#told)
      if (isEntryOf(tables.entry(seq), event) !== happened)
        throw new Violation(
          'acknowledged',
          `${who} was told that entry ${seq}, '${event.what}', ${happened ? 'was written' : 'never will be'}`,
        );
    const entries = tables.entries(1, Infinity).map((row) => [row['seq'] as number, octetsOf(row)] as const);
    const { seq = 0, hash = Buffer.alloc(HASH_LENGTH) } = (tables.lastEntry ?? {}) as { seq?: number; hash?: Buffer };
    const start = { seq: 0, hash: new Uint8Array(HASH_LENGTH), at: 0 };
    for await (const fault of verifyChain({ start, head: { seq, hash, at: 0 }, entries }))
      throw new Violation('chain', `the audit log does not hold: ${fault}`);
  }

  override end(): Promise<void> {
    for (const { machine, link } of this.#clients.values()) {
      machine.process.stop();
      link.crash(true);
    }
    void this.opened?.close();
    return Promise.resolve();
  }

  async #connect(machine: Machine): Promise<PostgresStorage> {
    const { process, log } = machine;
    const client = this.#clientOf(machine);
    client.seenSeq = 0;
    const { Engine: Rules, Storage, LastSeen: Seeing } = this.#rules;
    const kept = parseKept('postgres.json', client.kept);
    const lastSeen = new Seeing(kept, {
      noted: (seen) => this.#seen(client, seen),
      write: async (text) => {
        await process.pause(1, 'writes what it has seen');
        client.kept = text;
      },
    });
    const names = this.cluster.hosts.map(({ name }) => name);
    const config: PostgresConfig = {
      hosts: names.map((host) => ({ host, port: 5432 })),
      database: 'latchkey',
      user: 'latchkey',
    };
    const engine: Engine = new Rules(config, lastSeen, log, client.link.environment());
    const storage: PostgresStorage = new Storage(engine);
    this.#observe(storage, process.name);
    client.storage = storage;
    const serve = machine.isCommand === undefined ? { name: process.name, version: '0' } : undefined;
    return connectStorage(storage, serve);
  }

  #clientOf(machine: Machine): Client {
    const known = this.#clients.get(machine.process);
    if (known !== undefined) return known;
    const none: LinkConditions = { probability: 0, heldMs: [0] };
    const link = new Link({
      process: machine.process,
      hosts: this.cluster.hosts,
      conditions: () => (this.#isMade ? this.#conditions : none),
      rules: this.#rules.link,
      machine,
      onFault: () => this.#onFault(),
      onNodesRead: (ids) => this.onNodesRead(ids),
    });
    const client: Client = { machine, link, kept: undefined, storage: undefined, seenSeq: 0 };
    this.#clients.set(machine.process, client);
    if (machine.isCommand === undefined) this.cluster.add(link);
    return client;
  }

  /** Compares the outcome that a write reported with the final log. */
  #observe(storage: PostgresStorage, who: string): void {
    const write = storage.write.bind(storage);
    storage.write = async <T>(keys: Keys, decide: Decide<T>): Promise<T> => {
      let decided: Omit<ToldWrite, 'happened'> | undefined;
      const tell = (happened: boolean): void => {
        if (decided !== undefined) this.#told.push({ ...decided, happened });
      };
      try {
        const result = await write<T>(keys, (found: Snapshot) => {
          decided = undefined;
          const outcome = decide(found);
          const [event] = outcome.events ?? [];
          decided = event && { who, seq: found.head.seq + 1, event };
          return outcome;
        });
        tell(true);
        return result;
      } catch (error) {
        if (!(error instanceof InDoubt)) tell(false);
        throw error;
      }
    };
  }

  /** A server has seen an entry behind a barrier, or its write was acknowledged. */
  #seen(client: Client, { head }: Seen): void {
    if (head === undefined) return;
    client.seenSeq = Math.max(client.seenSeq, head.seq);
    if (this.#durable.get(head.seq) === head.hash) return;
    this.#durable.set(head.seq, head.hash);
    this.#checkEntry(head.seq, head.hash);
  }

  #checkDurable(): void {
    for (const [seq, hash] of this.#durable) this.#checkEntry(seq, hash);
  }

  #checkEntry(seq: number, hash: string): void {
    const entry = this.cluster.tables.entry(seq)?.['hash'] as Buffer | undefined;
    if (entry?.toString('hex') !== hash)
      throw new Violation('acknowledged', `entry ${seq}, which a server has taken for durable, is lost`);
  }

  #changed(changes: readonly Change[]): void {
    if (!this.#isMade) return;
    for (const { table, key, row } of changes) {
      if (table === 'controllers') this.#noteServable();
      if (table !== 'nodes') continue;
      const idI = Number(key);
      if (row === undefined) {
        this.rows.delete(idI);
        this.removed(idI);
      } else {
        const changed = this.#decode(idI, row);
        this.rows.set(idI, changed);
        this.#noteServable();
        this.onChange(changed);
      }
    }
  }

  /** Rows may be other ones than before. */
  #promoted(): void {
    if (!this.#isMade) return;
    const { tables } = this.cluster;
    this.#checkDurable();
    const before = new Map(this.rows);
    this.rows.clear();
    for (const row of tables.rows('nodes')) {
      const idI = row['id'] as number;
      this.rows.set(idI, this.#decode(idI, row));
    }
    this.#noteServable();
    for (const [idI, row] of this.rows) {
      const { key, controller, disabled, reissuedAt, lifetime } = before.get(idI) ?? {};
      const isSame =
        row.key === key &&
        row.controller === controller &&
        row.disabled === disabled &&
        row.reissuedAt === reissuedAt &&
        row.lifetime === lifetime;
      if (!isSame) this.promoted(row);
    }
    for (const idI of before.keys()) if (!this.rows.has(idI)) this.removed(idI);
  }

  /** Told of nodes whose rows a slow read has just seen. */
  onNodesRead: (ids: readonly number[]) => void = () => undefined;
  #noteServable(): void {
    const { now } = this.#simulation;
    for (const [idI, { key, controller }] of this.rows) {
      const states = this.#servable.get(idI) ?? [];
      const isPassThrough = this.isPassThrough(controller);
      const last = states.at(-1);
      if (last?.key === key && last.controller === controller && last.isPassThrough === isPassThrough) continue;
      const recent = states.filter((_, i) => (states[i + 1]?.at ?? now) >= now - MAX_READ_AGE_MS);
      this.#servable.set(idI, [...recent, { at: now, key, controller, isPassThrough }]);
    }
  }

  #decode(idI: number, record: SqlRow): RegistryRow {
    const { initial, controller, disabled, lifetime = 0, grace = 0, reissuedAt, committed, key } = NODES.decode(record);
    const opened = this.administrator.keyring.unseal({ kind: KEY_KIND.node, id: idI }, key);
    const text = keyText(opened);
    opened.wipe();
    return {
      idI,
      key: text,
      initial,
      controller,
      disabled: disabled === true,
      lifetime,
      grace,
      reissuedAt,
      committed: committed && { ...committed, tid: BigInt(`0x${committed.tid}`) },
    };
  }

  /** A server that has stopped for good is started anew, once all machines run. */
  #watchServers(): void {
    this.#simulation.events.schedule(OPERATOR_INTERVAL_MS, () => {
      for (const { storage, machine } of this.#clients.values())
        if (machine.isCommand === undefined && storage?.engine.fault !== undefined && this.cluster.isCalm)
          machine.process.crash('killed', 1_000);
      this.#watchServers();
    });
  }
}

function octetsOf(row: SqlRow): Buffer {
  const { hash, previous, body } = row as { readonly hash: Buffer; readonly previous: Buffer; readonly body: string };
  return Buffer.concat([hash, previous, Buffer.from(body)]);
}

/** Whether an entry tells of this event. */
function isEntryOf(row: SqlRow | undefined, { what, node, tid, operation, at }: ToldWrite['event']): boolean {
  const entry = row && parseEntry(octetsOf(row));
  return (
    entry?.what === what &&
    Date.parse(entry.at) === at &&
    entry.operation === operation &&
    (tid === undefined ? entry.tid === undefined : BigInt(`0x${entry.tid ?? '0'}`) === tid) &&
    (node === undefined || Number.parseInt(entry.node ?? '', 16) === node)
  );
}
