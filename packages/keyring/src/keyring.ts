/**
 * The keys of a store at rest: each is wrapped with AES key wrap (RFC 3394) under the store's
 * master key, together with the place it belongs to, so that a wrapped key moved to another row
 * does not open there.
 *
 *   sealed key = number of the master key, mod 256 | KW(master, key 16 | kind 1 | ID 4 | 0^3)        33 octets
 *
 * While the master key is being replaced the store has two, and either opens it: each is kept
 * wrapped under the other. Whatever is written from then on is sealed under the new one. Once
 * nothing is left under the old one, it is erased.
 */

import { KEY_LENGTH, Secret } from '@latchkey/protocol';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { aeskw } from '@noble/ciphers/aes.js';
import { KeyWrap, WRAPPED_LENGTH } from './key-wrap.js';
import { MASTER_KEY_NAMED } from './master-key.js';

/** Whose key it is. A kind is sealed with the key: it never changes its meaning. */
export const KEY_KIND = {
  node: 1,
  controller: 2,
  stagedController: 3,
  applicationRoot: 4,
  initialKeyId: 5,
  transactionKey: 6,
  installerHalf: 7,
} as const;

export interface KeyContext {
  readonly kind: (typeof KEY_KIND)[keyof typeof KEY_KIND];
  /** ID_i or ID_c, or 0 where there is one of the kind. */
  readonly id: number;
}

const CONTEXT_LENGTH = 8;
const SEALED_LENGTH = 1 + WRAPPED_LENGTH;

/** Metadata entry of a store that identifies its master key. */
const MASTER_KEY_ROW = 'master key';
const KEY_CHECK_VALUE: Uint8Array = new TextEncoder().encode('latchkey master!');

interface MasterKeyRow {
  /** Counts the master keys of this store, from 1. */
  number: number;
  /** KW(master, a constant): opens under the right one alone. */
  check: Uint8Array;
  /** There while it is being replaced. */
  next?: {
    check: Uint8Array;
    /** The next one, wrapped under this one, and the other way round. */
    wrapped: Uint8Array;
    wrappedCurrent: Uint8Array;
  };
}

/** Named values of a store: all that a keyring needs of it. */
export interface MetadataTable {
  get(name: string): unknown;
  /**
   * Opaque; compared with ===. Another one as soon as another value stands under the name;
   * `undefined` if none does.
   */
  version(name: string): object | undefined;
  /** Inside a write. */
  putSync(name: string, value: unknown): void;
}

export class Keyring {
  readonly #metadata: MetadataTable;
  readonly #store: string;
  #number: number;
  #master: Secret;
  #next: Secret | undefined;
  /** Version of the row that these are of. */
  #rowVersion: object | undefined;
  /** Under the master keys above; wiped with them. */
  readonly #keyWraps = new Map<Secret, KeyWrap>();

  private constructor(metadata: MetadataTable, store: string, number: number, master: Secret) {
    this.#metadata = metadata;
    this.#store = store;
    this.#number = number;
    this.#master = master;
  }

  /** For a new store, inside the write transaction that makes it. `store` names it in messages. */
  static create(metadata: MetadataTable, store: string, master: Secret): Keyring {
    metadata.putSync(MASTER_KEY_ROW, { number: 1, check: wrap(master, KEY_CHECK_VALUE) } satisfies MasterKeyRow);
    return new Keyring(metadata, store, 1, master);
  }

  /** Whether the store was made with a master key at all. */
  static existsIn(metadata: MetadataTable): boolean {
    return metadata.get(MASTER_KEY_ROW) !== undefined;
  }

  /** @throws UsageFailure if `master` is not the store's */
  static open(metadata: MetadataTable, store: string, master: Secret): Keyring {
    const row = readMasterKeyRow(metadata);
    const next = row?.next;
    if (row !== undefined && unwraps(master, row.check)) {
      const keyring = new Keyring(metadata, store, row.number, master);
      if (next !== undefined) keyring.#next = unwrapKey(master, next.wrapped);
      return keyring;
    }
    const current =
      row !== undefined && next !== undefined && unwraps(master, next.check) ? unwrapKey(master, next.wrappedCurrent) : undefined;
    if (row === undefined || current === undefined) {
      throw new UsageFailure(`the keys in ${store} are not sealed under the master key ${String(master)}`, {
        advice: `Nothing was changed. Name the right one with ${MASTER_KEY_NAMED}. One that was replaced is kept beside the one in use, as FILE.before-TIME.`,
      });
    }
    const keyring = new Keyring(metadata, store, row.number, current);
    keyring.#next = master;
    return keyring;
  }

  /** The master key that new rows are sealed under, counted from 1. */
  get masterKeyNumber(): number {
    return this.#next === undefined ? this.#number : this.#number + 1;
  }

  /** Whether the master key is being replaced. */
  get isRotating(): boolean {
    return this.#next !== undefined;
  }

  /** Returns true if `key` is the staged master key. */
  isNextKey(key: Secret): boolean {
    return this.#next?.equals(key) === true;
  }

  /** 33 octets. */
  seal(context: KeyContext, key: Secret): Uint8Array {
    const plain = new Uint8Array(KEY_LENGTH + CONTEXT_LENGTH);
    plain.set(key.expose());
    plain.set(encodeContext(context), KEY_LENGTH);
    const sealed = new Uint8Array(SEALED_LENGTH);
    sealed[0] = this.masterKeyNumber & 0xff;
    sealed.set(this.#keyWrapFor(this.#next ?? this.#master).wrap(plain), 1);
    plain.fill(0);
    return sealed;
  }

  /** @throws Failure if the octets were changed, or sealed under an unknown master key */
  unseal(context: KeyContext, sealed: Uint8Array): Secret {
    const master = this.#masterKeyOf(sealed) ?? (this.reload(), this.#masterKeyOf(sealed));
    if (master === undefined) throw this.#replacedConcurrently();
    const plain = this.#keyWrapFor(master).unwrap(sealed, 1);
    if (plain === undefined || encodeContext(context).some((octet, i) => plain[KEY_LENGTH + i] !== octet)) {
      throw new Failure(`a key in ${this.#store} does not open in its place: the store was changed by something else`, {
        advice: 'Restore it from a backup.',
      });
    }
    const octets = plain.slice(0, KEY_LENGTH);
    plain.fill(0);
    const key = Secret.from(octets);
    octets.fill(0);
    return key;
  }

  /** The same key, sealed as new ones are. */
  rewrap(context: KeyContext, sealed: Uint8Array): Uint8Array {
    const key = this.unseal(context, sealed);
    const rewrapped = this.seal(context, key);
    key.wipe();
    return rewrapped;
  }

  /** Whether a row is sealed as new ones are. */
  isUnderCurrentKey(sealed: Uint8Array): boolean {
    return sealed[0] === (this.masterKeyNumber & 0xff);
  }

  /**
   * Takes note of what another process did to the master key. First thing in every write
   * transaction.
   */
  reload(): void {
    const version = this.#metadata.version(MASTER_KEY_ROW);
    if (version !== undefined && version === this.#rowVersion) return;
    const row = readMasterKeyRow(this.#metadata);
    if (row?.number === this.#number + 1 && this.#next !== undefined) {
      this.#wipe(this.#master);
      [this.#master, this.#next, this.#number] = [this.#next, undefined, row.number];
    }
    if (row?.number !== this.#number) throw this.#replacedConcurrently();
    if (row.next === undefined) this.#next = undefined;
    else this.#next ??= unwrapKey(this.#master, row.next.wrapped);
    this.#rowVersion = version;
  }

  /**
   * Begins to replace the master key, inside a write transaction. Continues if the rotation to
   * `next` has already begun.
   */
  beginRotation(next: Secret): void {
    if (this.#next !== undefined) {
      if (this.#next.equals(next)) return;
      throw new UsageFailure(
        `the master key of ${this.#store} is being replaced by ${String(this.#next)} already, not by ${String(next)}`,
        {
          advice: 'Run the command again with that one, then once more for another.',
        },
      );
    }
    if (next.equals(this.#master))
      throw new UsageFailure('the new master key is the one in use', { advice: 'Nothing was changed.' });
    const row = { number: this.#number, check: wrap(this.#master, KEY_CHECK_VALUE) };
    const crossWrapped = { wrapped: wrap(this.#master, next.expose()), wrappedCurrent: wrap(next, this.#master.expose()) };
    this.#metadata.putSync(MASTER_KEY_ROW, {
      ...row,
      next: { check: wrap(next, KEY_CHECK_VALUE), ...crossWrapped },
    } satisfies MasterKeyRow);
    this.#next = next;
    // The transaction may fail: whatever the row is then, it is to be looked at.
    this.#rowVersion = undefined;
  }

  /**
   * Erases the old master key, inside a write transaction: nothing may be sealed under it any more.
   * Taken note of by the next `reload`.
   */
  finishRotation(): void {
    if (this.#next === undefined) return;
    this.#metadata.putSync(MASTER_KEY_ROW, {
      number: this.#number + 1,
      check: wrap(this.#next, KEY_CHECK_VALUE),
    } satisfies MasterKeyRow);
  }

  wipe(): void {
    this.#wipe(this.#master);
    if (this.#next !== undefined) this.#wipe(this.#next);
  }

  #keyWrapFor(master: Secret): KeyWrap {
    const cached = this.#keyWraps.get(master);
    if (cached !== undefined) return cached;
    const created = new KeyWrap(master);
    this.#keyWraps.set(master, created);
    return created;
  }

  #wipe(master: Secret): void {
    this.#keyWraps.get(master)?.wipe();
    this.#keyWraps.delete(master);
    master.wipe();
  }

  #masterKeyOf(sealed: Uint8Array): Secret | undefined {
    if (sealed[0] === (this.#number & 0xff)) return this.#master;
    return sealed[0] === ((this.#number + 1) & 0xff) ? this.#next : undefined;
  }

  #replacedConcurrently(): Failure {
    return new Failure(`the master key of ${this.#store} was replaced meanwhile`, {
      advice: 'Run the command again; restart a daemon.',
    });
  }
}

function readMasterKeyRow(metadata: MetadataTable): MasterKeyRow | undefined {
  return metadata.get(MASTER_KEY_ROW) as MasterKeyRow | undefined;
}

function encodeContext({ kind, id }: KeyContext): Uint8Array {
  const octets = new Uint8Array(CONTEXT_LENGTH);
  octets[0] = kind;
  for (let i = 0; i < 4; i++) octets[1 + i] = id >>> (24 - 8 * i);
  return octets;
}

function wrap(master: Secret, plain: Uint8Array): Uint8Array {
  return aeskw(master.expose()).encrypt(plain);
}

/** `undefined`: does not open. */
function unwrap(master: Secret, wrapped: Uint8Array): Uint8Array | undefined {
  try {
    return aeskw(master.expose()).decrypt(wrapped);
  } catch {
    return undefined;
  }
}

function unwraps(master: Secret, check: Uint8Array): boolean {
  return unwrap(master, check) !== undefined;
}

function unwrapKey(master: Secret, wrapped: Uint8Array): Secret {
  const plain = unwrap(master, wrapped);
  if (plain === undefined)
    throw new Failure('the store’s own record of its master key is damaged', { advice: 'Restore it from a backup.' });
  const key = Secret.from(plain);
  plain.fill(0);
  return key;
}
