/** Long-term access of the API to the registry: one that the API opens itself, or a daemon's. */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Registry, STORE_FOLDER } from '@latchkey/registry';
import { systemFailure } from '@latchkey/runtime/failure';

export interface RegistryAccess {
  /** @throws Failure if the registry cannot be opened */
  use<T>(action: (registry: Registry) => T | Promise<T>): Promise<T>;
  /** Resolves when no use is pending. */
  unused(): Promise<void>;
  /** Call it after the last `use`. */
  close(): Promise<void>;
}

/** Counts pending uses. */
class Uses {
  #count = 0;
  readonly #onUnused: (() => void)[] = [];

  async run<T>(action: () => T | Promise<T>): Promise<T> {
    this.#count += 1;
    try {
      return await action();
    } finally {
      this.#count -= 1;
      if (this.#count === 0) for (const resolve of this.#onUnused.splice(0)) resolve();
    }
  }

  async unused(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => this.#onUnused.push(resolve));
  }
}

/** The registry of the daemon that the API is inside of. The daemon closes it. */
export class DaemonRegistry implements RegistryAccess {
  readonly #registry: Registry;
  readonly #uses = new Uses();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  use<T>(action: (registry: Registry) => T | Promise<T>): Promise<T> {
    return this.#uses.run(() => action(this.#registry));
  }

  unused(): Promise<void> {
    return this.#uses.unused();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Opened {
  readonly registry: Registry;
  /** Device and inode of the folder of the store. */
  readonly identity: string;
  users: number;
  isRetired: boolean;
}

/**
 * A registry that this object opens and reopens. `restore --replace` replaces its store, and a
 * rotation of the master key retires the key that opened it. The next request then reopens the
 * registry. Pending requests finish on the store on which they began.
 */
export class ReopenedRegistry implements RegistryAccess {
  readonly #folder: string | undefined;
  readonly #open: () => Promise<Registry>;
  readonly #onOpened: (registry: Registry) => void;
  #current: Opened | undefined;
  #opening: Promise<Opened> | undefined;
  readonly #closing = new Set<Promise<void>>();
  readonly #uses = new Uses();

  /**
   * @param folder of the registry; `undefined` for a database, which is never replaced
   * @param open reads the master key and opens the registry
   * @param onOpened called with each opened registry, the first and later ones
   */
  constructor(
    folder: string | undefined,
    open: () => Promise<Registry>,
    onOpened: (registry: Registry) => void = () => undefined,
  ) {
    this.#folder = folder;
    this.#open = open;
    this.#onOpened = onOpened;
  }

  use<T>(action: (registry: Registry) => T | Promise<T>): Promise<T> {
    return this.#uses.run(async () => {
      const opened = await this.#acquire();
      try {
        return await action(opened.registry);
      } finally {
        opened.users -= 1;
        if (opened.isRetired && opened.users === 0) this.#close(opened);
      }
    });
  }

  unused(): Promise<void> {
    return this.#uses.unused();
  }

  async close(): Promise<void> {
    await this.#opening?.catch(() => undefined);
    this.#retire();
    await Promise.all(this.#closing);
  }

  async #acquire(): Promise<Opened> {
    for (;;) {
      if (this.#current !== undefined && !this.#isCurrent(this.#current)) this.#retire();
      const opened = this.#current ?? (await this.#reopen());
      // Another request may have retired it while this one waited.
      if (opened.isRetired) continue;
      opened.users += 1;
      return opened;
    }
  }

  #isCurrent({ registry, identity }: Opened): boolean {
    if (this.#identity() !== identity) return false;
    try {
      registry.keyring.reload();
      return true;
    } catch {
      return false;
    }
  }

  #reopen(): Promise<Opened> {
    this.#opening ??= this.#openRegistry().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #openRegistry(): Promise<Opened> {
    // Read first: if the store is replaced while it is opened, the next request reopens it.
    const identity = this.#identity();
    const opened: Opened = { registry: await this.#open(), identity, users: 0, isRetired: false };
    this.#current = opened;
    this.#onOpened(opened.registry);
    return opened;
  }

  #identity(): string {
    if (this.#folder === undefined) return 'database';
    try {
      const { dev, ino } = statSync(join(this.#folder, STORE_FOLDER), { bigint: true });
      return `${dev}:${ino}`;
    } catch (error) {
      throw systemFailure(`cannot read the registry in ${this.#folder}`, error);
    }
  }

  #retire(): void {
    const retired = this.#current;
    this.#current = undefined;
    if (retired === undefined) return;
    retired.isRetired = true;
    if (retired.users === 0) this.#close(retired);
  }

  #close({ registry }: Opened): void {
    const closing = registry.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    // A store that fails as it is closed is left all the same. `close` tells of it.
    closing.catch(() => undefined);
  }
}
