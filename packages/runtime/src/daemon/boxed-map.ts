interface Box<V> {
  value: V | undefined;
}

/**
 * A Map whose entries come and go with each request. V8 gives such a Map a new table every hundred
 * entries or so, and every table points to the next: one that has grown old keeps all later ones
 * from a young collection, and with them whatever stood in them when they were left, which is all
 * that hangs on the requests then under way. So values stand in cells here, which are emptied as
 * they leave.
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
