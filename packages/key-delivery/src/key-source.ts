// The source of nodes' keys: the interface between a daemon's store and key delivery. Application
// keys are derived from a generation's application root, never stored.

import type { Secret } from '@latchkey/protocol';

/**
 * The registry's verdict on a node's key. `moved`: the node belongs to another controller.
 * `withdrawn`: the registry has not confirmed the key for so long that it is not given out.
 */
export type KeyState = 'current' | 'initial' | 'disabled' | 'removed' | 'moved' | 'expired' | 'withdrawn';

/** One generation of a node's key. Times are in ms since the epoch. */
export interface KeyGeneration {
  /** KID_i: 8 hex digits, not secret. */
  readonly keyId: string;
  /** AR_i. Belongs to the caller, which wipes it after use. */
  readonly applicationRoot: Secret;
  readonly joinedAt: number;
  /** `undefined`: never. */
  readonly expiresAt: number | undefined;
}

/** A replaced generation that peers may still use. */
export interface FormerGeneration extends KeyGeneration {
  /** The end of the overlap, in ms since the epoch. */
  readonly until: number;
}

/** The state of a node and the generations of its key that are in use. */
export interface NodeKeys {
  readonly idI: number;
  readonly state: KeyState;
  /** Present only in state `current`. */
  readonly current: KeyGeneration | undefined;
  /** Newest first, at most 4. Empty in every state but `current`. */
  readonly former: readonly FormerGeneration[];
  /** False if the registry has not confirmed the state recently. */
  readonly verified: boolean;
}

/** The nodes and keys of one daemon: a controller's store, or the registry in combined mode. */
export interface KeySource {
  /** Returns `undefined` if the daemon does not know the node. */
  get(idI: number): NodeKeys | undefined;
  /**
   * Iterates over all nodes in ascending order of ID. A reader may pause between two nodes for as
   * long as it likes: the iteration holds no transaction. A node that changes in between may be
   * read before or after its change.
   */
  all(): Iterable<NodeKeys>;
  /**
   * Calls `listener` after a change is durable, once for each node that changed. Returns the
   * function that removes the listener.
   */
  onChange(listener: (idI: number) => void): () => void;
  /** Resolves when the joins that the daemon has seen so far are stored, or could not be. */
  flushed?(): Promise<void>;
  /**
   * Resolves once `all` has every node. A store that was lost has none until the registry has sent
   * them again. Absent: it has them from the start.
   */
  completed?(): Promise<void>;
}
