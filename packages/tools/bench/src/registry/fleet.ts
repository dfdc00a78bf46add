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
  /** The first of them are picked only. */
  readonly active: number;
  /** Keys of those that have joined. */
  readonly #keys = new Map<number, Secret>();

  constructor(size: number, active: number = size) {
    this.size = size;
    this.active = Math.min(active, size);
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

  /** `count` different nodes at random, of the active ones. */
  pick(count: number): number[] {
    const drawn = new Set<number>();
    while (drawn.size < Math.min(count, this.active)) drawn.add(randomInt(this.active));
    return [...drawn];
  }

  /** Writes what `import` reads, mode 0600: of all nodes, or of those from `first` up to `end`. */
  async writeCsv(path: string, first: number = 0, end: number = this.size): Promise<void> {
    const file = createWriteStream(path, { mode: 0o600, flags: 'wx' });
    file.write(`${MANIFEST_COLUMNS.join(',')}\n`);
    for (let from = first; from < end; from += LINES_PER_WRITE) {
      let lines = '';
      for (let i = from; i < Math.min(from + LINES_PER_WRITE, end); i++)
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
