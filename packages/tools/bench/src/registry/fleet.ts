/**
 * The nodes of a registry under measurement: drawn from their number, so that a million take no
 * memory until they join.
 */

import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { formatId, Secret } from '@latchkey/protocol';
import { MANIFEST_COLUMNS } from '@latchkey/provisioning';

export const ID_C = 1;
export const NID = '192.0.2.1:5683';
/** Odd: times this, modulo 2^32, is a permutation of the IDs that scatters them. */
const SCATTER_MULTIPLIER = 2_654_435_761;
const LINES_PER_WRITE = 10_000;

export class Fleet {
  readonly size: number;
  /** Keys of those that have joined. */
  readonly #keys = new Map<number, Secret>();

  constructor(size: number) {
    this.size = size;
  }

  idI(i: number): number {
    return Number((BigInt(i + 1) * BigInt(SCATTER_MULTIPLIER)) & 0xffff_ffffn);
  }

  /** A copy of K_i. */
  key(i: number): Secret {
    return this.#keys.get(i) ?? Secret.from(initialKey(i));
  }

  joined(i: number, psk: Secret): void {
    this.#keys.set(i, psk);
  }

  /** `count` different nodes at random. */
  pick(count: number): number[] {
    const drawn = new Set<number>();
    while (drawn.size < Math.min(count, this.size)) drawn.add(randomInt(this.size));
    return [...drawn];
  }

  /** Writes what `import` reads, mode 0600: of all nodes, or of those from `first` on. */
  async writeCsv(path: string, first: number = 0): Promise<void> {
    const file = createWriteStream(path, { mode: 0o600, flags: 'wx' });
    file.write(`${MANIFEST_COLUMNS.join(',')}\n`);
    for (let from = first; from < this.size; from += LINES_PER_WRITE) {
      let lines = '';
      for (let i = from; i < Math.min(from + LINES_PER_WRITE, this.size); i++)
        lines += `${formatId(this.idI(i))},${formatId(ID_C)},${NID},${initialKey(i).toString('hex')}\n`;
      if (!file.write(lines)) await once(file, 'drain');
    }
    file.end();
    await finished(file);
  }
}

export function initialKey(i: number): Buffer {
  return createHash('sha256').update(`bench ${i}`).digest().subarray(0, 16);
}
