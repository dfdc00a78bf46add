/**
 * The registry that replicas share: `Registry` of packages/registry on its engine in memory. The
 * disk is simulated. It has one writer at a time, which may have to wait. A write is visible to no
 * reader before it is durable, and takes effect as a whole or not at all.
 */

import { KEY_KIND } from '@latchkey/keyring';
import { type Clocks, Secret, type ServerNodeRecord } from '@latchkey/protocol';
import { initialKeyId, markRestored, type NodeRow, type OrderRow, Registry } from '@latchkey/registry';
import { MemoryDatabase, MemoryStorage } from '@latchkey/registry/memory';
import { type ProcessTime, PROCESS_TIME } from '@latchkey/runtime/daemon';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { keyText } from './key-text.js';
import type { Process } from './process.js';
import type { Simulation } from './simulation.js';
import { SimulatedStorage, type StoreConditions, WriteQueue } from './simulated-storage.js';

/** Names the registry in messages. */
const FOLDER = 'registry';

/** A node as it stands on the disk: the key in hex digits. */
export interface RegistryRow extends Omit<ServerNodeRecord, 'key' | 'passThrough' | 'switchedAt'> {
  readonly key: string;
}

/** The registry at some moment. */
export interface Snapshot {
  readonly database: MemoryDatabase;
  readonly rows: ReadonlyMap<number, RegistryRow>;
}

/** Who is in a registry from the start. */
export interface InitialContents {
  /** SK_cs by ID_c. */
  readonly controllers: ReadonlyMap<number, Secret>;
  /** ID_c of those that are pass-through. */
  readonly passThrough: readonly number[];
  readonly nodes: readonly InitialNode[];
}

export interface InitialNode {
  readonly idI: number;
  /** In hex digits. */
  readonly ik: string;
  readonly controller: number;
  /** Seconds. */
  readonly lifetime: number;
  readonly grace: number;
}

export class SimulatedRegistry {
  readonly queue: WriteQueue;
  readonly #random: SeededRandom;
  protected readonly master: Secret;
  /** Of the machine where an administrator's commands run. */
  readonly #clock: () => Clocks;
  #database: MemoryDatabase;
  protected opened: Registry | undefined;
  protected readonly rows: Map<number, RegistryRow> = new Map<number, RegistryRow>();
  /** Told of each row that takes effect. */
  onChange: (row: RegistryRow) => void = () => undefined;
  /** And of each that is gone, or is as it was in a backup. */
  removed: (idI: number) => void = () => undefined;
  restored: (row: RegistryRow) => void = () => undefined;
  /** And of each that is another after a failover. */
  promoted: (row: RegistryRow) => void = () => undefined;

  constructor(simulation: Simulation, conditions: StoreConditions, clock: () => Clocks) {
    this.#random = simulation.random('registry keys');
    this.#database = newDatabase(simulation.random('registry incarnations'));
    this.master = this.#drawKey();
    this.#clock = clock;
    this.queue = new WriteQueue(simulation, conditions);
  }

  get database(): MemoryDatabase {
    return this.#database;
  }

  /** The registry as an administrator's commands open it. */
  get administrator(): Registry {
    if (this.opened === undefined) throw new Error('the registry is not open');
    return this.opened;
  }

  /** Makes it. The world has not begun: that takes no time. */
  async create({ controllers, passThrough, nodes }: InitialContents): Promise<void> {
    const storage = new MemoryStorage(this.#database);
    const registry = await Registry.createOn(storage, FOLDER, () => Promise.resolve(this.master.copy()), 'init', this.#clock);
    await this.fill(registry, { controllers, passThrough, nodes });
    await registry.close();
    this.opened = await this.#openForAdministrator();
    this.#rowsChanged(nodes.map(({ idI }) => idI));
  }

  /** Writes what is there from the start. */
  protected fill(registry: Registry, { controllers, passThrough, nodes }: InitialContents): Promise<void> {
    const { keyring } = registry;
    const addedAt = registry.clock().wallMs;
    return registry.write({ nodes: nodes.map(({ idI }) => idI), metadata: ['initial key id key'] }, ({ head }) => ({
      result: undefined,
      events: [{ what: 'order created', order: 1, at: addedAt }],
      put: {
        controllers: [...controllers].map(([idC, skCs]) => [
          idC,
          {
            skCs: keyring.seal({ kind: KEY_KIND.controller, id: idC }, skCs),
            nid: { host: `192.0.2.${idC}`, port: 5683 },
            servers: [],
            addedAt,
            ...(passThrough.includes(idC) ? { passThrough: true } : {}),
          },
        ]),
        orders: [[1, newOrder(addedAt, head.seq + 1)]],
        nodes: nodes.map((node) => [node.idI, newNode(registry, 1, node)]),
        metadata: [this.newTransactionKey(registry)],
      },
    }));
  }

  /** For a process that serves from it. */
  open(name: string, storage: SimulatedStorage, clock: () => Clocks, time: ProcessTime): Promise<Registry> {
    return Registry.openOn(storage, FOLDER, this.master.copy(), name, clock, time);
  }

  newStorage(process?: Process, Storage: typeof SimulatedStorage = SimulatedStorage): SimulatedStorage {
    return new Storage(this.#database, this.queue, process, (ids) => this.#rowsChanged(ids));
  }

  row(idI: number): RegistryRow | undefined {
    return this.rows.get(idI);
  }

  keyOf(idI: number): Secret | undefined {
    const key = this.rows.get(idI)?.key;
    return key === undefined ? undefined : Secret.fromHex(key);
  }

  isPassThrough(idC: number): boolean {
    return this.#database.state.controllers.get(idC)?.passThrough === true;
  }

  snapshot(): Snapshot {
    return { database: this.#database.fork(), rows: new Map(this.rows) };
  }

  /** While no server runs. What the administrator has ordered and is not done is not done. */
  async restore({ database }: Snapshot, wallMs: number): Promise<void> {
    await this.#reopenForAdministrator(() => {
      this.#database = database.fork();
      this.#database.restored();
    });
    await markRestored(this.administrator, wallMs);
    await this.administrator.write({}, () => ({
      result: undefined,
      put: { metadata: [this.newTransactionKey(this.administrator)] },
    }));
  }

  /** Reads it anew, once all that a restore changes is changed. */
  async reopen(): Promise<void> {
    await this.#reopenForAdministrator();
    this.rows.clear();
    for (const idI of this.#database.state.nodes.keys()) {
      const row = this.#read(idI);
      if (row === undefined) continue;
      this.rows.set(idI, row);
      this.restored(row);
    }
  }

  /** The world is at its end. */
  async end(): Promise<void> {
    await this.opened?.close();
  }

  async #reopenForAdministrator(meanwhile: () => void = () => undefined): Promise<void> {
    this.queue.abandon(undefined);
    await this.administrator.close();
    meanwhile();
    this.opened = await this.#openForAdministrator();
  }

  #openForAdministrator(): Promise<Registry> {
    return this.open('administrator', this.newStorage(), this.#clock, PROCESS_TIME);
  }

  #rowsChanged(ids: readonly number[]): void {
    for (const idI of ids) {
      const row = this.#read(idI);
      if (row === undefined) {
        this.rows.delete(idI);
        this.removed(idI);
      } else {
        this.rows.set(idI, row);
        this.onChange(row);
      }
    }
  }

  #read(idI: number): RegistryRow | undefined {
    const node = this.administrator.readNode(idI);
    if (node instanceof Promise) throw new Error('the engine in memory answers at once');
    if (node === undefined) return undefined;
    const { initial, controller, disabled, lifetime, grace, reissuedAt, committed } = node;
    return { idI, key: keyText(node.key), initial, controller, disabled, lifetime, grace, reissuedAt, committed };
  }

  /** From the world's seed: the RN_c that nodes see are made from it. */
  protected newTransactionKey({ keyring }: Registry): readonly ['transaction key', Uint8Array] {
    return ['transaction key', keyring.seal({ kind: KEY_KIND.transactionKey, id: 0 }, this.#drawKey())];
  }

  #drawKey(): Secret {
    return Secret.from(this.#random.octets(16));
  }
}

function newDatabase(random: SeededRandom): MemoryDatabase {
  const scheduler = {
    after: (): never => {
      throw new Error('what the disk does is up to the queue of writes');
    },
  };
  return new MemoryDatabase(scheduler, (end) => random.below(end));
}

export function newOrder(createdAt: number, entry: number): OrderRow {
  return {
    kind: 'import',
    state: 'open',
    installer: 'somebody',
    idC: undefined,
    count: 1,
    sharedKey: true,
    lifetime: 0,
    grace: 0,
    createdAt,
    createdEntry: entry,
    entry,
  };
}

export function newNode(registry: Registry, order: number, { idI, ik, controller, lifetime, grace }: InitialNode): NodeRow {
  const [key, identityKey] = [Secret.fromHex(ik), registry.initialKeyIdKey()];
  return {
    key: registry.keyring.seal({ kind: KEY_KIND.node, id: idI }, key),
    initial: true,
    ik: initialKeyId(identityKey, key),
    controller,
    order,
    entry: 0,
    lifetime,
    grace,
  };
}
