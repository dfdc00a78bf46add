interface Box<V> {
  value: V | undefined;
}

/**
 * A Map whose entries are short-lived. V8 rehashes such a Map into a new table about every hundred
 * inserts, and each old table references the next one. Once one table is in the old generation, it
 * keeps all later tables and their values alive until a full garbage collection. Values are
 * therefore boxed, and the box is emptied on delete.
 */
export class BoxedMap<K, V> implements Map<K, V> {
  readonly #boxes = new Map<K, Box<V>>();

  constructor(entries: Iterable<readonly [K, V]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#boxes.size;
  }

  has(key: K): boolean {
    return this.#boxes.has(key);
  }

  get(key: K): V | undefined {
    return this.#boxes.get(key)?.value;
  }

  set(key: K, value: V): this {
    const box = this.#boxes.get(key);
    if (box === undefined) this.#boxes.set(key, { value });
    else box.value = value;
    return this;
  }

  delete(key: K): boolean {
    const box = this.#boxes.get(key);
    if (box === undefined) return false;
    box.value = undefined;
    return this.#boxes.delete(key);
  }

  clear(): void {
    for (const box of this.#boxes.values()) box.value = undefined;
    this.#boxes.clear();
  }

  *entries(): MapIterator<[K, V]> {
    for (const [key, { value }] of this.#boxes) yield [key, value as V];
  }

  keys(): MapIterator<K> {
    return this.#boxes.keys();
  }

  *values(): MapIterator<V> {
    for (const { value } of this.#boxes.values()) yield value as V;
  }

  forEach(callback: (value: V, key: K, map: Map<K, V>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  get [Symbol.toStringTag](): string {
    return 'BoxedMap';
  }
}
