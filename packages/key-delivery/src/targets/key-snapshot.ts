/** All nodes of a daemon and the application keys of their generations, as a target shows them. */

/** Application keys by label: lower-case hexadecimal digits. */
type KeysByLabel = Readonly<Record<string, string>>;

/** Times are in ms since the epoch; `undefined`: never. */
export interface CurrentKeys {
  readonly kid: string;
  readonly keys: KeysByLabel;
  readonly joinedAt: number;
  readonly notAfter: number | undefined;
}

export interface FormerKeys {
  readonly kid: string;
  readonly keys: KeysByLabel;
  /** The key's own expiry, which may come before `until`. `undefined`: never. */
  readonly notAfter: number | undefined;
  /** The end of its overlap. */
  readonly until: number;
}

export interface DeliveredNode {
  /** 8 lower-case hexadecimal digits. */
  readonly id: string;
  readonly current: CurrentKeys;
  /** Newest first. */
  readonly former: readonly FormerKeys[];
}

/** A generation that a target shows at some moment. */
export interface Generation {
  readonly id: string;
  readonly kid: string;
  readonly keys: KeysByLabel;
  readonly isCurrent: boolean;
  /** When a target shows it no longer, in ms since the epoch. */
  readonly until: number;
}

export interface GenerationFilter {
  /** False: only the current generation. */
  readonly withFormer: boolean;
  /** Shortens the overlap that the source keeps, in ms. */
  readonly overlapMs: number;
  readonly now: number;
}

/**
 * Nodes without a key of which it is known why: twice as many as a snapshot has nodes. A process
 * that follows a fleet for years sees more of them go.
 */
const MAX_REASONS = 262_144;

export class KeySnapshot {
  readonly #nodes = new Map<string, DeliveredNode>();
  /** Why nodes have no key, as far as the source says so. */
  readonly #reasons = new Map<string, string>();

  set(node: DeliveredNode): void {
    this.#nodes.set(node.id, node);
    this.#reasons.delete(node.id);
  }

  /** Removes a node with all of its generations. At the bound the oldest reason is dropped. */
  revoke(id: string, reason: string): void {
    this.#nodes.delete(id);
    this.#reasons.delete(id);
    this.#reasons.set(id, reason);
    if (this.#reasons.size <= MAX_REASONS) return;
    const [oldest] = this.#reasons.keys();
    if (oldest !== undefined) this.#reasons.delete(oldest);
  }

  /** Returns why a node has no generation in use. `gone`: the source does not know it. */
  reasonFor(id: string): string {
    return this.#reasons.get(id) ?? (this.#nodes.has(id) ? 'expired' : 'gone');
  }

  /** Nodes that it knows of, with or without a key. */
  get size(): number {
    return this.#nodes.size + this.#reasons.size;
  }

  /**
   * Generations in use at `now`, by ascending ID, newest first. An expired node has none: its
   * former generations end with its current one.
   */
  generations(filter: GenerationFilter): Generation[] {
    const ids = [...this.#nodes.keys()].toSorted();
    return ids.flatMap((id) => {
      const node = this.#nodes.get(id);
      return node === undefined ? [] : generationsOf(node, filter);
    });
  }
}

function generationsOf({ id, current, former }: DeliveredNode, { withFormer, overlapMs, now }: GenerationFilter): Generation[] {
  const end = current.notAfter ?? Infinity;
  if (end <= now) return [];
  const shown: Generation[] = [{ id, kid: current.kid, keys: current.keys, isCurrent: true, until: end }];
  if (!withFormer) return shown;
  // The newest former generation was replaced as the current one joined, which gives the overlap
  // that the source keeps.
  const [newest] = former;
  const sourceOverlapMs = newest === undefined ? 0 : newest.until - current.joinedAt;
  const shorterMs = Math.max(0, sourceOverlapMs - overlapMs);
  for (const { kid, keys, until, notAfter = Infinity } of former) {
    const ends = Math.min(end, until - shorterMs, notAfter);
    // If two generations have one KID, the newer one counts.
    if (ends > now && shown.every((other) => other.kid !== kid)) shown.push({ id, kid, keys, isCurrent: false, until: ends });
  }
  return shown;
}
