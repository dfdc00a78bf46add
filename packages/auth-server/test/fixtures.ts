// What the test files share: a registry of one's own, its entries, and a controller with a node behind it, sealed by the protocol's functions.

import { randomBytes } from 'node:crypto';
import {
  decodeM5,
  derivePsk,
  encodeM1,
  type NodeRecord,
  openM3,
  openM8,
  openM9,
  sealM2,
  sealM5,
  sealM7,
  Secret,
} from '@latchkey/protocol';
import { onTestFinished } from 'vitest';
import { tempFolder } from '../../runtime/test/fixtures.js';
import { type ControllerRecord, Registry } from '../src/registry.js';

// As every command does: what LMDB makes is for this user alone.
process.umask(0o077);

export const WALL = 1_795_000_000_000;
export const ID_C = 1;
export const NID: Uint8Array = Uint8Array.from(Buffer.from('00000000000000000000ffffc0000207c000', 'hex'));

export function newSecret(): Secret {
  return Secret.from(randomBytes(16));
}

/** A new registry in a folder of its own; closed with the test unless it is closed before. */
export async function newRegistry(): Promise<Registry> {
  const folder = await tempFolder();
  return closedAfter(await Registry.create(folder));
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
export function newNode(idI: number, more: Partial<NodeRecord> = {}): NodeRecord {
  return { idI, key: newSecret(), initial: true, controller: ID_C, disabled: false, lifetime: 3_600, grace: 60, ...more };
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
