/**
 * Storage of installers: an LMDB store next to the registry. It is separate, so that no restore
 * brings back a recipient that was withdrawn (docs/decisions/0051). Both the API and commands open
 * it.
 */

import type { InstallerStore, StoredInstaller } from '@latchkey/operations';
import { MAX_INSTALLERS } from '@latchkey/operations/contract';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { Database } from 'lmdb';
import { OwnStore } from '../own-store.js';

export interface OpenInstallerStore extends InstallerStore {
  readonly close: () => Promise<void>;
}

/** @param folder of the registry */
export async function openInstallerStore(folder: string): Promise<OpenInstallerStore> {
  const { store, tables } = await OwnStore.open(folder, {
    name: 'api-installers',
    schema: 1,
    tables: (open): InstallerTables => ({ installers: open('installers'), names: open('names') }),
    thenMake: 'add the installers again',
  });
  return new LmdbInstallerStore(store, tables);
}

interface InstallerTables {
  readonly installers: Database<StoredInstaller, string>;
  /** IDs by name. */
  readonly names: Database<string, string>;
}

class LmdbInstallerStore implements OpenInstallerStore {
  readonly #store: OwnStore;
  readonly #installers: Database<StoredInstaller, string>;
  readonly #names: Database<string, string>;

  constructor(store: OwnStore, { installers, names }: InstallerTables) {
    this.#store = store;
    this.#installers = installers;
    this.#names = names;
  }

  list(): readonly StoredInstaller[] {
    return this.#store.read(() => [...this.#installers.getRange()].map(({ value }) => value));
  }

  find(id: string): StoredInstaller | undefined {
    return this.#store.read(() => this.#installers.get(id));
  }

  findByName(name: string): StoredInstaller | undefined {
    return this.#store.read(() => {
      const id = this.#names.get(name);
      return id === undefined ? undefined : this.#installers.get(id);
    });
  }

  requireRoom(name: string): void {
    this.#store.read(() => this.#requireRoom(name));
  }

  #requireRoom(name: string): void {
    if (this.#names.doesExist(name))
      throw new UsageFailure(`there is an installer ${name} already`, {
        advice: 'Nothing was changed. Change that one:',
        run: [['latchkey-auth-server', 'installer', 'set', name, '--help']],
      });
    if (this.#installers.getKeysCount() >= MAX_INSTALLERS)
      throw new UsageFailure(`there are ${MAX_INSTALLERS} installers already`, {
        advice: 'Nothing was changed. Remove those that are not needed:',
        run: [['latchkey-auth-server', 'installer', 'list']],
      });
  }

  add(installer: StoredInstaller): Promise<void> {
    return this.#store.write(() => {
      this.#requireRoom(installer.name);
      this.#installers.putSync(installer.id, installer);
      this.#names.putSync(installer.name, installer.id);
    });
  }

  replace(before: StoredInstaller, after: StoredInstaller): Promise<boolean> {
    return this.#store.write(() => {
      if (!this.#isCurrent(before)) return false;
      this.#installers.putSync(before.id, after);
      return true;
    });
  }

  remove(before: StoredInstaller): Promise<boolean> {
    return this.#store.write(() => {
      if (!this.#isCurrent(before)) return false;
      this.#installers.removeSync(before.id);
      this.#names.removeSync(before.name);
      return true;
    });
  }

  #isCurrent({ id, revision }: StoredInstaller): boolean {
    return this.#installers.get(id)?.revision === revision;
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
