/** Columns of the node index, one for each property: a million nodes take 56 MB. */

const INITIAL_CAPACITY = 1_024;

/** In `flags`. */
export const ALIVE = 1;
export const DISABLED = 2;
export const INITIAL = 4;
export const INITIAL_SHIFT = 2;
export const COMMITTED = 8;

/**
 * Of one node. Orders, controllers, sites and tags by their numbers in dictionaries, 0 for none.
 * Times are ms since the epoch: `expiry`, `renewalDue` and `joinedAt` are Infinity and
 * `committedAt` is -Infinity if there is none.
 */
export interface NodeFields {
  readonly ids: number;
  readonly orders: number;
  readonly controllers: number;
  readonly flags: number;
  readonly expiry: number;
  readonly renewalDue: number;
  readonly committedAt: number;
  readonly joinedAt: number;
  readonly sites: number;
  readonly tags: number;
  /** Number of its record in the texts. */
  readonly texts: number;
}

/** The columns as they are saved, each as long as there are rows. */
export interface SavedColumns {
  readonly ids: Uint32Array;
  readonly orders: Uint32Array;
  readonly controllers: Uint32Array;
  readonly flags: Uint8Array;
  readonly expiry: Float64Array;
  readonly renewalDue: Float64Array;
  readonly committedAt: Float64Array;
  readonly joinedAt: Float64Array;
  readonly sites: Uint32Array;
  readonly tags: Uint32Array;
  readonly texts: Uint32Array;
}

export class NodeColumns {
  ids: Uint32Array;
  orders: Uint32Array;
  controllers: Uint32Array;
  flags: Uint8Array;
  expiry: Float64Array;
  renewalDue: Float64Array;
  committedAt: Float64Array;
  joinedAt: Float64Array;
  sites: Uint32Array;
  tags: Uint32Array;
  texts: Uint32Array;
  length = 0;

  constructor(capacity: number = INITIAL_CAPACITY) {
    this.ids = new Uint32Array(capacity);
    this.orders = new Uint32Array(capacity);
    this.controllers = new Uint32Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.expiry = new Float64Array(capacity);
    this.renewalDue = new Float64Array(capacity);
    this.committedAt = new Float64Array(capacity);
    this.joinedAt = new Float64Array(capacity);
    this.sites = new Uint32Array(capacity);
    this.tags = new Uint32Array(capacity);
    this.texts = new Uint32Array(capacity);
  }

  static from(saved: SavedColumns): NodeColumns {
    const rows = new NodeColumns(Math.max(INITIAL_CAPACITY, saved.ids.length));
    rows.append(saved, 0, saved.ids.length);
    return rows;
  }

  get saved(): SavedColumns {
    const { length } = this;
    return {
      ids: this.ids.subarray(0, length),
      orders: this.orders.subarray(0, length),
      controllers: this.controllers.subarray(0, length),
      flags: this.flags.subarray(0, length),
      expiry: this.expiry.subarray(0, length),
      renewalDue: this.renewalDue.subarray(0, length),
      committedAt: this.committedAt.subarray(0, length),
      joinedAt: this.joinedAt.subarray(0, length),
      sites: this.sites.subarray(0, length),
      tags: this.tags.subarray(0, length),
      texts: this.texts.subarray(0, length),
    };
  }

  /** Gives the place of the new row. */
  push(row: NodeFields): number {
    if (this.length === this.ids.length) this.#grow();
    this.set(this.length, row);
    return this.length++;
  }

  set(at: number, row: NodeFields): void {
    this.ids[at] = row.ids;
    this.orders[at] = row.orders;
    this.controllers[at] = row.controllers;
    this.flags[at] = row.flags;
    this.expiry[at] = row.expiry;
    this.renewalDue[at] = row.renewalDue;
    this.committedAt[at] = row.committedAt;
    this.joinedAt[at] = row.joinedAt;
    this.sites[at] = row.sites;
    this.tags[at] = row.tags;
    this.texts[at] = row.texts;
  }

  get(at: number): NodeFields {
    return {
      ids: this.ids[at] ?? 0,
      orders: this.orders[at] ?? 0,
      controllers: this.controllers[at] ?? 0,
      flags: this.flags[at] ?? 0,
      expiry: this.expiry[at] ?? Infinity,
      renewalDue: this.renewalDue[at] ?? Infinity,
      committedAt: this.committedAt[at] ?? -Infinity,
      joinedAt: this.joinedAt[at] ?? Infinity,
      sites: this.sites[at] ?? 0,
      tags: this.tags[at] ?? 0,
      texts: this.texts[at] ?? 0,
    };
  }

  /** Appends the rows from `start` up to `end`. The caller has reserved space for them. */
  append(rows: SavedColumns, start: number, end: number): void {
    if (start === end) return;
    this.ids.set(rows.ids.subarray(start, end), this.length);
    this.orders.set(rows.orders.subarray(start, end), this.length);
    this.controllers.set(rows.controllers.subarray(start, end), this.length);
    this.flags.set(rows.flags.subarray(start, end), this.length);
    this.expiry.set(rows.expiry.subarray(start, end), this.length);
    this.renewalDue.set(rows.renewalDue.subarray(start, end), this.length);
    this.committedAt.set(rows.committedAt.subarray(start, end), this.length);
    this.joinedAt.set(rows.joinedAt.subarray(start, end), this.length);
    this.sites.set(rows.sites.subarray(start, end), this.length);
    this.tags.set(rows.tags.subarray(start, end), this.length);
    this.texts.set(rows.texts.subarray(start, end), this.length);
    this.length += end - start;
  }

  isAlive(at: number): boolean {
    return ((this.flags[at] ?? 0) & ALIVE) !== 0;
  }

  /** The place of a node among rows in ascending order of ID, or -1. */
  find(idI: number): number {
    const at = this.firstFrom(idI);
    return at < this.length && this.ids[at] === idI ? at : -1;
  }

  /** The place of the first row with this ID or a higher one; rows are in ascending order of ID. */
  firstFrom(idI: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.ids[middle] ?? 0) < idI) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #grow(): void {
    const capacity = this.ids.length * 2;
    this.ids = grown(this.ids, new Uint32Array(capacity));
    this.orders = grown(this.orders, new Uint32Array(capacity));
    this.controllers = grown(this.controllers, new Uint32Array(capacity));
    this.flags = grown(this.flags, new Uint8Array(capacity));
    this.expiry = grown(this.expiry, new Float64Array(capacity));
    this.renewalDue = grown(this.renewalDue, new Float64Array(capacity));
    this.committedAt = grown(this.committedAt, new Float64Array(capacity));
    this.joinedAt = grown(this.joinedAt, new Float64Array(capacity));
    this.sites = grown(this.sites, new Uint32Array(capacity));
    this.tags = grown(this.tags, new Uint32Array(capacity));
    this.texts = grown(this.texts, new Uint32Array(capacity));
  }
}

function grown<A extends Uint8Array | Uint32Array | Float64Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

/** The rows of both, in ascending order of ID; they have no node in common. */
export function merged(sorted: NodeColumns, added: NodeColumns): NodeColumns {
  const result = new NodeColumns(Math.max(INITIAL_CAPACITY, sorted.length + added.length));
  const idOf = (at: number): number => added.ids[at] ?? 0;
  const places = Uint32Array.from({ length: added.length }, (_, i) => i).toSorted((a, b) => idOf(a) - idOf(b));
  let taken = 0;
  for (const place of places) {
    const before = sorted.firstFrom(idOf(place));
    result.append(sorted, taken, before);
    result.push(added.get(place));
    taken = before;
  }
  result.append(sorted, taken, sorted.length);
  return result;
}

/** The rows that are alive. */
export function compacted(rows: NodeColumns): NodeColumns {
  const result = new NodeColumns(Math.max(INITIAL_CAPACITY, rows.length));
  for (let at = 0; at < rows.length; at++) if (rows.isAlive(at)) result.push(rows.get(at));
  return result;
}

/** Its index in `NODE_STATES`: as `nodeState`. */
export function stateOf(flags: number, expiry: number, due: number, now: number): number {
  if ((flags & DISABLED) !== 0) return 4;
  if ((flags & COMMITTED) === 0) return 0;
  // A key is due for renewal before it expires.
  if (now <= due) return 1;
  return now > expiry ? 3 : 2;
}
