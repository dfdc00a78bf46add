/**
 * A simulated disk. Programs see a write at once, but only synced writes surely survive a power
 * failure. Names and contents are synced separately, as on a real file system. A renamed file may
 * return under its old name, and an unsynced file may be empty or truncated.
 */

import type { SeededRandom } from '@latchkey/test-support/seeded-random';

interface Content {
  now: string;
  /** `undefined`: nothing of it is sure. */
  synced: string | undefined;
}

/** What may stand under a name after a loss of power. `torn`: part of something. */
export type PossibleContent = { readonly text: string } | 'torn' | 'nothing';

export class Disk {
  #names = new Map<string, Content>();
  #syncedNames = new Map<string, Content>();
  /** Goes up with each change. */
  version = 0;

  /** A new file; one of that name is gone. */
  write(name: string, text: string): void {
    this.version += 1;
    this.#names.set(name, { now: text, synced: undefined });
  }

  /** What no careful program does: the content changes where it is. */
  overwrite(name: string, text: string): void {
    const content = this.#names.get(name);
    if (content === undefined) return this.write(name, text);
    this.version += 1;
    content.now = text;
    content.synced = undefined;
  }

  sync(name: string): void {
    this.version += 1;
    const content = this.#names.get(name);
    if (content !== undefined) content.synced = content.now;
  }

  rename(from: string, to: string): void {
    const content = this.#names.get(from);
    if (content === undefined) return;
    this.version += 1;
    this.#names.set(to, content);
    this.#names.delete(from);
  }

  syncFolder(): void {
    this.version += 1;
    this.#syncedNames = new Map(this.#names);
  }

  /** What the system does by itself in the end. */
  writeBack(): void {
    for (const name of this.#names.keys()) this.sync(name);
    this.syncFolder();
  }

  read(name: string): string | undefined {
    return this.#names.get(name)?.now;
  }

  /** The folder is lost: somebody removed it, or the machine was replaced. */
  remove(name: string): void {
    this.version += 1;
    this.#names.delete(name);
    this.#syncedNames.delete(name);
  }

  /** All that may be found under `name` if the power goes now. */
  afterPowerLoss(name: string): PossibleContent[] {
    return [this.#syncedNames.get(name), this.#names.get(name)].map((content) => {
      if (content === undefined) return 'nothing';
      return content.synced === content.now ? { text: content.now } : 'torn';
    });
  }

  /** The power goes, and comes back. */
  losePower(random: SeededRandom): void {
    this.version += 1;
    const kept = random.below(2) === 0 ? this.#names : this.#syncedNames;
    this.#names = new Map();
    for (const [name, { now, synced }] of kept) {
      const text = synced ?? now.slice(0, random.pick([0, random.below(now.length + 1), now.length]));
      this.#names.set(name, { now: text, synced: text });
    }
    this.#syncedNames = new Map(this.#names);
  }
}
