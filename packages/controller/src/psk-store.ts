/** The keys of the nodes that joined through this controller, for talking to them later. */

import { openStore, writeFailure } from '@latchkey/auth-server';
import { type Joined, Secret } from '@latchkey/protocol';
import type { RootDatabase } from 'lmdb';

interface Row {
  psk: Uint8Array;
  tid: string;
  ts: number;
  nidI: Uint8Array;
  lifetime: number;
}

export interface StoredPsk extends Omit<Joined, 'idI' | 'ts'> {
  /** ms since the epoch. */
  readonly ts: number;
}

export class PskStore {
  readonly #path: string;
  readonly #env: RootDatabase<Row, number>;

  private constructor(path: string, env: RootDatabase<Row, number>) {
    this.#path = path;
    this.#env = env;
  }

  static async open(path: string): Promise<PskStore> {
    return new PskStore(path, await openStore(path, { keyEncoding: 'uint32' }));
  }

  /** Keeps the key of a newer transaction; resolves when the disk has it. The key is copied, not taken over. */
  async put({ idI, tid, ts, nidI, psk, lifetime }: Joined): Promise<void> {
    try {
      await this.#env.transaction(() => {
        const before = this.#env.get(idI);
        if (before !== undefined && BigInt(`0x${before.tid}`) >= tid) return;
        this.#env.putSync(idI, { psk: psk.expose(), tid: tid.toString(16), ts: Number(ts), nidI, lifetime });
      });
    } catch (error) {
      throw await writeFailure(this.#path, error);
    }
  }

  get(idI: number): StoredPsk | undefined {
    this.#env.resetReadTxn();
    const row = this.#env.get(idI);
    if (row === undefined) return undefined;
    const psk = Secret.from(row.psk);
    row.psk.fill(0);
    return { ...row, psk, tid: BigInt(`0x${row.tid}`) };
  }

  async close(): Promise<void> {
    await this.#env.close();
  }
}
