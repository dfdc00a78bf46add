import type { MetadataTable } from '@latchkey/keyring';
import { type MetadataName, type Outcome, type Puts, type RegistryStorage, type Snapshot, type Version } from './storage.js';

/**
 * The registry's metadata as the interface of a keyring. Inside a write it reads from the snapshot
 * of the write. It collects the keyring's changes, which become part of the outcome.
 */
export class StorageMetadata implements MetadataTable {
  readonly #storage: RegistryStorage;
  #found: Snapshot | undefined;
  #puts: (readonly [MetadataName, unknown])[] = [];

  constructor(storage: RegistryStorage) {
    this.#storage = storage;
  }

  /** Makes the decision of a write that found this. */
  decide<T>(found: Snapshot, decision: () => Outcome<T>): Outcome<T> {
    this.#found = found;
    try {
      const outcome = decision();
      if (this.#puts.length === 0) return outcome;
      const put: Puts = { ...outcome.put, metadata: [...(outcome.put?.metadata ?? []), ...this.#puts] };
      return { ...outcome, put };
    } finally {
      this.#found = undefined;
      this.#puts = [];
    }
  }

  get(name: MetadataName): unknown {
    const put = this.#puts.findLast(([of]) => of === name);
    return put === undefined ? this.#snapshot.metadata(name) : put[1];
  }

  version(name: MetadataName): Version | undefined {
    return this.#snapshot.metadataVersion(name);
  }

  putSync(name: MetadataName, value: unknown): void {
    if (this.#found === undefined) throw new Error('metadata is written inside a write only');
    this.#puts.push([name, value]);
  }

  get #snapshot(): Pick<Snapshot, 'metadata' | 'metadataVersion'> {
    return this.#found ?? this.#storage.metadata;
  }
}
