interface Cell<V> {
  value: V | undefined;
}

/**
 * A Map whose entries come and go with each request. V8 gives such a Map a new table every hundred entries or so, and every table points to the next: one that has
 * grown old keeps all later ones from a young collection, and with them whatever stood in them when they were left, which is all that hangs on the
 * requests then under way. So values stand in cells here, which are emptied as they leave.
 */
export class LeavingMap<K, V> implements Map<K, V> {
  readonly #cells = new Map<K, Cell<V>>();

  constructor(entries: Iterable<readonly [K, V]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#cells.size;
  }

  has(key: K): boolean {
    return this.#cells.has(key);
  }

  get(key: K): V | undefined {
    return this.#cells.get(key)?.value;
  }

  set(key: K, value: V): this {
    const cell = this.#cells.get(key);
    if (cell === undefined) this.#cells.set(key, { value });
    else cell.value = value;
    return this;
  }

  delete(key: K): boolean {
    const cell = this.#cells.get(key);
    if (cell === undefined) return false;
    cell.value = undefined;
    return this.#cells.delete(key);
  }

  clear(): void {
    for (const cell of this.#cells.values()) cell.value = undefined;
    this.#cells.clear();
  }

  *entries(): MapIterator<[K, V]> {
    for (const [key, { value }] of this.#cells) yield [key, value as V];
  }

  keys(): MapIterator<K> {
    return this.#cells.keys();
  }

  *values(): MapIterator<V> {
    for (const { value } of this.#cells.values()) yield value as V;
  }

  forEach(look: (value: V, key: K, map: Map<K, V>) => void): void {
    for (const [key, value] of this) look(value, key, this);
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  get [Symbol.toStringTag](): string {
    return 'LeavingMap';
  }
}
