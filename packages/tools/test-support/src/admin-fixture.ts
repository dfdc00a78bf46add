// What the tests of the administrator's side share: a registry with orders in it, and a server that
// sees controllers ask for its nodes.

import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  decodeM5,
  derivePsk,
  encodeM1,
  formatId,
  openM3,
  openM8,
  openM9,
  refusalFromReason,
  sealM2,
  sealM5,
  sealM7,
  Secret,
} from '@latchkey/protocol';
import { onTestFinished } from 'vitest';
import { CapturedLog, tempFolder } from './fixtures.js';
import { MemoryDatabase, MemoryStorage } from '@latchkey/registry/memory';
import { type AuditEntry, parseEntry, Registry, type Restored, STORE_FOLDER } from '@latchkey/registry';
import { AuthServer } from '@latchkey/auth-server';
import type { Diagnosis } from '@latchkey/operations/contract';
import {
  NodeBatch,
  addController,
  diagnoseNode,
  type Surroundings,
  surroundingsOf,
  enrol,
  type OrderTerms,
} from '@latchkey/operations';

// As every command does: what LMDB makes is for this user alone.
process.umask(0o077);

/** Controllers of every registry here; 3 is not in it. */
export const C1 = 1;
export const C2 = 2;
export const UNKNOWN_CONTROLLER = 3;
const NID_I = Uint8Array.from(Buffer.from('00000000000000000000ffffc0000207c000', 'hex'));
/** Octets of the master key of every registry here. */
export const MASTER: Uint8Array = randomBytes(16);

/** Of the machine that the servers here run on. */
const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });

/** A key whose octets can be looked for. */
export function newSecret(): Secret {
  return Secret.from(randomBytes(16));
}

/** Each engine here does so at once. */
function refresh(registry: Registry): void {
  void registry.refresh();
}

/** What a registry is kept in. */
export type Engine = 'LMDB' | 'memory';

export class AdminFixture {
  readonly registry: Registry;
  readonly #skCs: ReadonlyMap<number, Secret>;
  /** What servers share, of a registry in memory. */
  readonly #database: MemoryDatabase | undefined;

  private constructor(registry: Registry, skCs: ReadonlyMap<number, Secret>, database?: MemoryDatabase) {
    this.registry = registry;
    this.#skCs = skCs;
    this.#database = database;
  }

  /** A new registry with controllers 1 and 2. */
  static async open(engine: Engine = 'LMDB'): Promise<AdminFixture> {
    const folder = await tempFolder();
    const master = (): Promise<Secret> => Promise.resolve(Secret.from(MASTER));
    const database = engine === 'LMDB' ? undefined : new MemoryDatabase({ after: (_, action) => action() });
    const registry =
      database === undefined
        ? await Registry.create(folder, master, 'user ada', clock)
        : await Registry.createOn(new MemoryStorage(database), folder, master, 'user ada', clock);
    const skCs = new Map([C1, C2, UNKNOWN_CONTROLLER].map((idC) => [idC, newSecret()]));
    const fixture = new AdminFixture(registry, skCs, database);
    onTestFinished(() => registry.close());
    for (const idC of [C1, C2]) {
      const nid = { host: '192.0.2.1', port: 5683 + idC };
      await addController(registry, { idC, skCs: fixture.skCs(idC), nid, servers: [], addedAt: Date.now() });
    }
    return fixture;
  }

  /** Its registry as another process would open it; close it. */
  reopen(): Promise<Registry> {
    const { folder } = this.registry;
    return this.#database === undefined
      ? Registry.open(folder, Secret.from(MASTER), 'user bo')
      : Registry.openOn(new MemoryStorage(this.#database), folder, Secret.from(MASTER), 'user bo');
  }

  /**
   * The same office as it is now, later: its store is copied, and says that it was put back from a
   * backup. On LMDB only.
   */
  async snapshot(): Promise<() => Promise<AdminFixture>> {
    const folder = await tempFolder();
    const store = join(folder, STORE_FOLDER);
    await mkdir(store);
    await this.registry.record({ what: 'registry backed up' });
    const backupAt = await this.registry.readLastWallClock();
    await this.registry.tables.env.backup(store, true);
    return async () => {
      const registry = await Registry.open(folder, Secret.from(MASTER), 'user ada');
      onTestFinished(() => registry.close());
      const { metadata } = registry.tables;
      await registry.tables.audited({ what: 'registry restored' }, (entry) =>
        metadata.putSync('restored', { at: Date.now(), backupAt, entry } satisfies Restored),
      );
      return new AdminFixture(registry, this.#skCs);
    };
  }

  /** The SK_cs of a controller; a copy, since whoever gets it may wipe it. */
  skCs(idC: number): Secret {
    return Secret.from(this.#skCs.get(idC)?.expose() ?? new Uint8Array(16));
  }

  /** Adds nodes as one order, each with the IK at its place; gives the order's number. */
  async order(nodes: Readonly<Record<number, Secret>>, more: Partial<OrderTerms> = {}): Promise<number> {
    const terms: OrderTerms = {
      kind: 'order',
      installer: 'Kim',
      idC: C1,
      sharedKey: false,
      lifetime: 3_600,
      grace: 600,
      ...more,
    };
    const batch = new NodeBatch();
    for (const [id, ik] of Object.entries(nodes)) batch.add(Number(id), terms.idC ?? C1, ik.expose(), 0);
    const number = await enrol(this.registry, { terms, batch });
    batch.wipe();
    return number!;
  }

  /** What the log says, from the entry after `seq`. */
  entriesAfter(seq: number): AuditEntry[] {
    refresh(this.registry);
    const entries = this.registry.storage.audit.ascending(seq + 1) as Iterable<readonly [seq: number, octets: Buffer]>;
    return Array.from(entries, ([, octets]) => parseEntry(octets)!);
  }

  get headSeq(): number {
    refresh(this.registry);
    return (this.registry.storage.audit.head as { readonly seq: number }).seq;
  }

  /** Takes the entries through `last` out of the log, which is looked at after each write. */
  async prune(last: number, inspect: () => void | Promise<void> = () => undefined): Promise<void> {
    await this.registry.pruneAudit(last, 'a file', inspect);
    await inspect();
  }

  /** A server with a clock of its own; when `use` is through, what it has seen is written. */
  async testServer<T>(use: (server: TestServer) => T | Promise<T>, wall: number = Date.now()): Promise<T> {
    const testServer = new TestServer(this, wall);
    const result = await use(testServer);
    await testServer.authServer.close();
    refresh(this.registry);
    return result;
  }

  /** Node `idI` joins, or renews, at `wall`; gives its new key. */
  async join(idI: number, key: Secret, { idC = C1, wall = Date.now() }: { idC?: number; wall?: number } = {}): Promise<Secret> {
    return this.testServer(async (withServer) => {
      const exchange = withServer.exchange(idI, key, { idC });
      await withServer.request(exchange, 'm2');
      const answer = await withServer.request(exchange, 'm7');
      if (answer !== 'M8') throw new Error(`node ${formatId(idI)} was answered ${answer}`);
      return exchange.psk;
    }, wall);
  }
}

export class TestServer {
  readonly authServer: AuthServer;
  readonly log: CapturedLog = new CapturedLog();
  readonly now: { wallMs: number; monotonicMs: number };
  readonly #fixture: AdminFixture;

  constructor(fixture: AdminFixture, wall: number) {
    this.#fixture = fixture;
    // Of one machine, whose monotonic clock runs on from one server to the next.
    this.now = { wallMs: wall, monotonicMs: wall };
    const clock = (): { wallMs: number; monotonicMs: number } => ({ ...this.now });
    this.authServer = new AuthServer({ registry: fixture.registry, clock, randomBytes, log: this.log.log });
  }

  exchange(idI: number, key: Secret, more: { idC?: number; ts?: number; skCs?: Secret } = {}): Exchange {
    const { idC = C1, ts = this.now.wallMs } = more;
    return new Exchange({ idI, key, idC, ts, skCs: more.skCs ?? this.#fixture.skCs(idC) });
  }

  /** `M3`, `M8`, the refusal in M9, or the bare code. */
  async request(exchange: Exchange, request: 'm2' | 'm7'): Promise<string> {
    const { code, payload } = await this.authServer.answer(exchange[request]);
    return exchange.read(request, payload) ?? code;
  }
}

/** What is found at `at` beside a server that runs, whose clock was never set back. */
export async function diagnosisOf(
  registry: Registry,
  idI: number,
  at: number,
  more: Partial<Surroundings> = {},
): Promise<Diagnosis> {
  const lock = { locked: true, holder: 'latchkey-auth-server run (process 1, since some time)' };
  const surroundings = await surroundingsOf(registry, lock, { wallMs: at, monotonicMs: at }, more);
  const server = { runs: true, combined: false, seenAt: at };
  return diagnoseNode(registry, idI, { ...surroundings, server, heldUntil: undefined, ...more });
}

let lastTid = 0n;

/** One transaction of a controller: its M2 and M7, and what opens of the answers to them. */
export class Exchange {
  readonly tid: bigint;
  readonly psk: Secret;
  readonly m2: Uint8Array;
  readonly m7: Uint8Array;
  readonly #skCs: Secret;

  constructor({ idI, key, idC, ts, skCs }: { idI: number; key: Secret; idC: number; ts: number; skCs: Secret }) {
    lastTid += 1n;
    this.tid = lastTid;
    this.#skCs = skCs;
    const [rnI, rnC] = [randomBytes(16), randomBytes(16)];
    const m1Octets = encodeM1({ idI, rnI });
    this.psk = derivePsk(key, rnI, rnC);
    const body = { rnC, ts: BigInt(ts), m1Octets, nidI: NID_I };
    const { c5 } = decodeM5(sealM5({ idC, tid: this.tid, m1Octets }, rnC, this.psk));
    const header = (): { idC: number; tid: bigint; nonce: Uint8Array } => ({ idC, tid: this.tid, nonce: randomBytes(13) });
    this.m2 = sealM2(header(), body, skCs);
    this.m7 = sealM7(header(), { ...body, c5 }, skCs);
  }

  read(request: 'm2' | 'm7', payload: Uint8Array | undefined): string | undefined {
    if (payload === undefined) return undefined;
    const octets = this[request];
    if (openM3(payload, octets, this.#skCs) !== undefined) return 'M3';
    if (openM8(payload, octets, this.#skCs) !== undefined) return 'M8';
    const m9 = openM9(payload, octets, this.#skCs);
    return m9 && (refusalFromReason(m9.reason) ?? 'another reason');
  }
}
