/** What a controller gives out through its key socket, compared with what it should. */

import { type KeyEvent, subscribe, type Subscription } from '@latchkey/keys';

/** KIDs of nodes that have a key, by ID. */
export type KeyIds = ReadonlyMap<string, string>;

export class WatchedKeys {
  readonly #subscription: Subscription;
  readonly #given = new Map<string, string>();
  #expected: KeyIds = new Map();
  /** Nodes that have another key than expected, or one more or less. */
  readonly #wrong = new Set<string>();
  #isSynced = false;
  #notify: () => void = () => undefined;

  constructor(socket: string, label: string) {
    this.#subscription = subscribe({ socket, labels: [label], onDisconnect: () => (this.#isSynced = false) });
    void this.#follow();
  }

  /** Resolves once all of them are given out, and nothing else. */
  async become(expected: KeyIds): Promise<void> {
    this.#expected = expected;
    this.#wrong.clear();
    for (const id of new Set([...expected.keys(), ...this.#given.keys()])) this.#compare(id);
    while (!this.#isSynced || this.#wrong.size > 0)
      await new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
  }

  /** In words, for a person who waits. */
  get state(): string {
    return `${this.#given.size} keys, ${this.#wrong.size} wrong${this.#isSynced ? '' : ', not synced'}`;
  }

  close(): void {
    this.#subscription.close();
  }

  async #follow(): Promise<void> {
    for await (const event of this.#subscription) {
      this.#apply(event);
      this.#notify();
    }
  }

  #apply(event: KeyEvent): void {
    if (event.type === 'synced') this.#isSynced = true;
    else if (event.type === 'resync') {
      this.#isSynced = false;
      const before = [...this.#given.keys()];
      this.#given.clear();
      for (const id of before) this.#compare(id);
    } else {
      if (event.type === 'key') this.#given.set(event.id, event.kid);
      else this.#given.delete(event.id);
      this.#compare(event.id);
    }
  }

  #compare(id: string): void {
    if (this.#given.get(id) === this.#expected.get(id)) this.#wrong.delete(id);
    else this.#wrong.add(id);
  }
}
