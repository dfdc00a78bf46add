// What the test files share: a registry of one's own, its entries, and a controller with a node
// behind it, sealed by the protocol's functions.

import { randomBytes } from 'node:crypto';
import {
  type Commit,
  decodeM5,
  derivePsk,
  encodeM1,
  type ServerNodeRecord,
  openM3,
  openM8,
  openM9,
  sealM2,
  sealM5,
  sealM7,
  Secret,
} from '@latchkey/protocol';
import type { Clock } from '@latchkey/runtime/daemon';
import { onTestFinished, vi } from 'vitest';
import { tempFolder } from './fixtures.js';
import { NodeBatch, setDisabled, enrol, type OrderTerms } from '@latchkey/operations';
import { type CommitResult, Registry, type ControllerRecord, type UnsealedNode } from '@latchkey/registry';

// As every command does: what LMDB makes is for this user alone.
process.umask(0o077);

/**
 * What the clocks here show: later than what the system's clock writes into the audit log
 * meanwhile.
 */
export const WALL = 4_000_000_000_000;
export const ID_C = 1;
export const NID: Uint8Array = Uint8Array.from(Buffer.from('00000000000000000000ffffc0000207c000', 'hex'));

/** Master key of the registries here. */
export const MASTER: Secret = newSecret();

export function newSecret(): Secret {
  return Secret.from(randomBytes(16));
}

/** A key whose octets say that it is the `i`th. */
export function numbered(i: number): Secret {
  const octets = Buffer.alloc(16, 0xee);
  octets.writeUInt32BE(i);
  return Secret.from(octets);
}

export function numberOf(key: Secret | undefined): number {
  return Number.parseInt(key?.toHex().slice(0, 8) ?? '', 16);
}

/** How every Secret that is made from here on shows itself now: whether it is wiped. */
export function secretsMade(): () => string[] {
  const made = vi.spyOn(Secret, 'from');
  onTestFinished(() => made.mockRestore());
  return () => made.mock.results.map(({ value }) => String(value));
}

/**
 * A new registry in a folder of its own; closed with the test unless it is closed before. `clock`:
 * what changes in it go by.
 */
export async function newRegistry(clock?: Clock): Promise<Registry> {
  return closedAfter(await Registry.create(await tempFolder(), () => Promise.resolve(copyOf(MASTER)), 'test', clock));
}

/** Opens the registry in `folder` as another process would. */
export async function openRegistry(folder: string, clock?: Clock): Promise<Registry> {
  return closedAfter(await Registry.open(folder, copyOf(MASTER), 'test', clock));
}

/** A registry wipes its master key when it is closed. */
export function copyOf(key: Secret): Secret {
  return Secret.from(key.expose());
}

export function closedAfter(registry: Registry): Registry {
  let open = true;
  const close = registry.close.bind(registry);
  registry.close = () => {
    open = false;
    return close();
  };
  onTestFinished(async () => {
    if (open) await close();
  });
  return registry;
}

export function controller(more: Partial<ControllerRecord> = {}): ControllerRecord {
  return { idC: ID_C, skCs: newSecret(), nid: { host: '192.0.2.1', port: 5683 }, servers: [], addedAt: WALL, ...more };
}

/** A node that has never joined. */
export function newNode(idI: number, more: Partial<ServerNodeRecord> = {}): ServerNodeRecord {
  return { idI, key: newSecret(), initial: true, controller: ID_C, disabled: false, lifetime: 3_600, grace: 60, ...more };
}

/** The terms of an order under which `newNode` comes. */
export const TERMS: OrderTerms = {
  kind: 'order',
  installer: 'Kim & Sons',
  idC: ID_C,
  sharedKey: false,
  lifetime: 3_600,
  grace: 60,
};

/** A batch of these nodes; they keep their keys. The line of each is its place, from 1. */
export function batchOf(nodes: readonly Pick<ServerNodeRecord, 'idI' | 'controller' | 'key'>[]): NodeBatch {
  const batch = new NodeBatch();
  nodes.forEach(({ idI, controller: idC, key }, i) => batch.add(idI, idC, key.expose(), i + 1));
  return batch;
}

/**
 * Adds nodes that have never joined, in one order for all that have the same terms. Gives the
 * numbers of the orders.
 */
export async function addNodes(
  registry: Registry,
  nodes: readonly ServerNodeRecord[],
  terms: Partial<OrderTerms> = {},
): Promise<readonly number[]> {
  const orders = new Map<string, ServerNodeRecord[]>();
  for (const node of nodes) {
    const same = JSON.stringify([node.lifetime, node.grace, node.joinFrom, node.joinUntil]);
    const group = orders.get(same);
    if (group === undefined) orders.set(same, [node]);
    else group.push(node);
  }
  const numbers: number[] = [];
  for (const group of orders.values()) {
    const [{ lifetime, grace, joinFrom, joinUntil } = newNode(0)] = group;
    const window = { ...(joinFrom === undefined ? {} : { joinFrom }), ...(joinUntil === undefined ? {} : { joinUntil }) };
    const number = await enrol(registry, { terms: { ...TERMS, lifetime, grace, ...window, ...terms }, batch: batchOf(group) });
    if (number !== undefined) numbers.push(number);
  }
  const disabled = nodes.filter((node) => node.disabled).map(({ idI }) => idI);
  if (disabled.length > 0) await setDisabled(registry, disabled, true);
  return numbers;
}

export const COMMIT: Commit = { idC: ID_C, tid: 0xffff_ffff_ffff_fff0n, ts: WALL - 5, nidI: NID, lifetime: 3_600 };

/** Commits a key to the node as it is judged by, at `WALL`. */
export function commitTo(
  registry: Registry,
  node: UnsealedNode | undefined,
  to: Secret,
  more: Partial<Commit> = {},
): Promise<CommitResult> {
  if (node === undefined) throw new Error('no such node');
  return registry.commit(
    node,
    to,
    { ...COMMIT, ...more },
    () => WALL,
    () => true,
  );
}

function dist(path: string): string {
  return JSON.stringify(new URL(path, import.meta.url).href);
}

/**
 * A script that has `registry`, the one in its first argument, as another process would; `enrolled`
 * adds nodes, `commitAs` commits a key to one.
 *
 * @param keyFile where its master key is, if not in this process
 */
export function withRegistry(body: string, keyFile?: string): string {
  // What only a few scripts use takes a quarter of the time of a start.
  const ifUsed = (name: string, lines: string): string => (body.includes(name) ? lines : '');
  const master = keyFile === undefined ? `Secret.fromHex('${MASTER.toHex()}')` : 'await readMasterKey(source)';
  return `
    process.umask(0o077);
    import { writeSync } from 'node:fs';
    import { Registry } from ${dist('../../../registry/dist/registry.js')};
    ${ifUsed('enrolled', `import { NodeBatch } from ${dist('../../../operations/dist/node-batch.js')};`)}
    ${ifUsed('enrolled', `import { enrol } from ${dist('../../../operations/dist/enrolment.js')};`)}
    ${ifUsed('addController', `import { addController } from ${dist('../../../operations/dist/administration.js')};`)}
    ${ifUsed('rotateMasterKey', `import { rotateMasterKey } from ${dist('../../../registry/dist/master-key-rotation.js')};`)}
    import { nextMasterKey, readMasterKey } from ${dist('../../../keyring/dist/index.js')};
    import { Secret } from ${dist('../../../protocol/dist/index.js')};
    const say = (text) => writeSync(1, text + '\\n');
    const numbered = (i) => { const octets = Buffer.alloc(16, 0xee); octets.writeUInt32BE(i); return Secret.from(octets); };
    const commit = { idC: ${ID_C}, tid: 1n, ts: 0, nidI: new Uint8Array(18), lifetime: 0 };
    const commitAs = async (idI, to) => registry.commit(await registry.node(idI), to, commit, () => 0, () => true);
    const terms = { kind: 'order', installer: 'Kim', idC: ${ID_C}, sharedKey: false, lifetime: 3600, grace: 60 };
    const enrolled = (nodes, more) => {
      const batch = new NodeBatch();
      for (const [idI, key] of nodes) batch.add(idI, ${ID_C}, key.expose(), 0);
      return enrol(registry, { terms, batch, ...more });
    };
    const source = { kind: 'file', path: ${JSON.stringify(keyFile)} };
    const registry = await Registry.open(process.argv[1], ${master}, 'child');
    ${body}`;
}

interface ExchangeTerms {
  readonly idI: number;
  /** The key the node proves itself with. */
  readonly key: Secret;
  readonly skCs: Secret;
  readonly idC?: number;
  readonly ts?: number;
  readonly m1Octets?: Uint8Array;
}

let lastTid = 0n;

/** One transaction: its M2 and M7, and what opens of the answers to them. */
export class Exchange {
  readonly tid: bigint;
  readonly psk: Secret;
  readonly m2: Uint8Array;
  readonly m7: Uint8Array;
  readonly #skCs: Secret;

  constructor({ idI, key, skCs, idC = ID_C, ts = WALL, m1Octets }: ExchangeTerms) {
    lastTid += 1n;
    this.tid = lastTid;
    this.#skCs = skCs;
    const [rnI, rnC] = [randomBytes(16), randomBytes(16)];
    const m1 = m1Octets ?? encodeM1({ idI, rnI });
    this.psk = derivePsk(key, rnI, rnC);
    const body = { rnC, ts: BigInt(ts), m1Octets: m1, nidI: NID };
    const { c5 } = decodeM5(sealM5({ idC, tid: this.tid, m1Octets: m1 }, rnC, this.psk));
    const header = (): { idC: number; tid: bigint; nonce: Uint8Array } => ({ idC, tid: this.tid, nonce: randomBytes(13) });
    this.m2 = sealM2(header(), body, skCs);
    this.m7 = sealM7(header(), { ...body, c5 }, skCs);
  }

  /** K_i and ID_i of an M3 that answers this M2. */
  openM3(payload: Uint8Array | undefined): { readonly key: string; readonly idI: number } | undefined {
    const m3 = payload && openM3(payload, this.m2, this.#skCs);
    return m3 && { key: m3.key.toHex(), idI: m3.idI };
  }

  openM8(payload: Uint8Array | undefined): ReturnType<typeof openM8> {
    return payload && openM8(payload, this.m7, this.#skCs);
  }

  openM9(payload: Uint8Array | undefined, request: 'm2' | 'm7'): ReturnType<typeof openM9> {
    return payload && openM9(payload, this[request], this.#skCs);
  }
}
