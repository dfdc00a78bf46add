/**
 * Cache of the last entries of the audit log, decoded once for the key feed. Each controller polls
 * every few seconds, and each answer scans the entries since the one before.
 */

import { parseId } from '@latchkey/protocol';
import type { AuditAction, AuditEntry } from './audit-chain.js';

/** Entries kept. One that is older is read and decoded each time. */
const MAX_ENTRIES = 65_536;

/** `order`: nodes appear all together; `controller` is unset if they may be of several. */
export type TailEntry =
  | { readonly kind: 'commit'; readonly seq: number; readonly node: number; readonly controller: number | undefined }
  | { readonly kind: 'node'; readonly seq: number; readonly node: number }
  | { readonly kind: 'order'; readonly seq: number; readonly order: number; readonly controller: number | undefined }
  | { readonly kind: 'other'; readonly seq: number };

const COMMITS: ReadonlySet<AuditAction> = new Set<AuditAction>(['node joined', 'node renewed']);
/** They name a node, and no key depends on them. */
const ABOUT_NO_KEY: ReadonlySet<AuditAction> = new Set<AuditAction>(['node described']);
const ORDERS: ReadonlySet<AuditAction> = new Set<AuditAction>(['order created', 'nodes imported']);

export class AuditTail {
  /** Ring buffer: entry `seq` is at index `seq` modulo the bound. An entry never changes. */
  readonly #entries: (TailEntry | undefined)[] = [];

  /** `undefined`: it is not kept. */
  get(seq: number): TailEntry | undefined {
    const known = this.#entries[seq % MAX_ENTRIES];
    return known?.seq === seq ? known : undefined;
  }

  /** Caches an entry, unless its slot has a later one. */
  keep(entry: AuditEntry): TailEntry {
    const decoded = decode(entry);
    const known = this.#entries[entry.seq % MAX_ENTRIES];
    if (known === undefined || known.seq < entry.seq) this.#entries[entry.seq % MAX_ENTRIES] = decoded;
    return decoded;
  }
}

function decode({ seq, what, node, controller, order }: AuditEntry): TailEntry {
  const [idI, idC] = [node, controller].map((id) => (id === undefined ? undefined : parseId(id)));
  if (ORDERS.has(what) && order !== undefined) return { kind: 'order', seq, order, controller: idC };
  if (idI === undefined || ABOUT_NO_KEY.has(what)) return { kind: 'other', seq };
  return COMMITS.has(what) ? { kind: 'commit', seq, node: idI, controller: idC } : { kind: 'node', seq, node: idI };
}
