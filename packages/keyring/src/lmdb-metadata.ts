import { rawValueEquals, readRawValue } from '@latchkey/lmdb';
import type { Database } from 'lmdb';
import type { MetadataTable } from './keyring.js';

/** The metadata of an LMDB store. The version of a value is its octets, as they were first read. */
export class LmdbMetadata implements MetadataTable {
  readonly #table: Database<unknown, string>;
  readonly #versions = new Map<string, Buffer>();

  constructor(table: Database<unknown, string>) {
    this.#table = table;
  }

  get(name: string): unknown {
    return this.#table.get(name);
  }

  version(name: string): object | undefined {
    const known = this.#versions.get(name);
    if (known !== undefined && rawValueEquals(this.#table, name, known)) return known;
    const octets = readRawValue(this.#table, name);
    if (octets === undefined) this.#versions.delete(name);
    else this.#versions.set(name, octets);
    return octets;
  }

  putSync(name: string, value: unknown): void {
    this.#table.putSync(name, value);
  }
}
