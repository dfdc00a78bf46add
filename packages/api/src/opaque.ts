/**
 * Opaque cursors and entity tags. They reveal nothing, and work only for the same caller under the
 * same limits. The key lives as long as the process: after a restart a client starts its list
 * again. A restore has separate keys, because after it entry numbers are used again for other
 * changes.
 */

import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import type { Principal } from './access.js';
import { textOfLimits } from './order-limits.js';

const KEY_LENGTH = 32;
const IV_LENGTH = 12;
const TAG_LENGTH = 16;
const CIPHER = 'aes-256-gcm';
/** Octets of a cursor before base64url: more than any list needs. */
const MAX_LENGTH = 512;
/**
 * Plaintexts are padded to multiples of this length, so that they do not show the size of a number.
 */
const PADDING = 32;
/** Octets of an entity tag before base64url. */
const ETAG_LENGTH = 16;

export class OpaqueValues {
  readonly #secret: Uint8Array;
  readonly #cursorKey: Uint8Array;
  readonly #etagKey: Uint8Array;
  /** Those of the registry that was asked for last. */
  #latest: { readonly registryRestoredAt: number; readonly values: OpaqueValues } | undefined;

  constructor(secret: Uint8Array = randomBytes(KEY_LENGTH)) {
    this.#secret = secret;
    this.#cursorKey = derive(secret, 'latchkey api cursor');
    this.#etagKey = derive(secret, 'latchkey api etag');
  }

  /**
   * Returns those of a registry. What was given out before a restore of it counts no more.
   *
   * @param registryRestoredAt ms since the epoch; `undefined` if it never was
   */
  of(registryRestoredAt: number | undefined): OpaqueValues {
    if (registryRestoredAt === undefined) return this;
    if (this.#latest?.registryRestoredAt !== registryRestoredAt) {
      const values = new OpaqueValues(derive(this.#secret, `latchkey api restore ${registryRestoredAt}`));
      this.#latest = { registryRestoredAt, values };
    }
    return this.#latest.values;
  }

  /** @param list names the list and its filters: a cursor continues no other list */
  sealCursor(principal: Principal, list: string, value: unknown): string {
    const iv = randomBytes(IV_LENGTH);
    const cipher = createCipheriv(CIPHER, this.#cursorKey, iv, { authTagLength: TAG_LENGTH });
    cipher.setAAD(contextOf(principal, list));
    const octets = Buffer.from(JSON.stringify(value), 'utf8');
    const padding = Buffer.alloc((PADDING - (octets.length % PADDING)) % PADDING, ' ');
    const sealed = Buffer.concat([iv, cipher.update(octets), cipher.update(padding), cipher.final()]);
    return Buffer.concat([sealed, cipher.getAuthTag()]).toString('base64url');
  }

  /** Returns `undefined` for a text that `sealCursor` did not return for this caller and list. */
  openCursor(principal: Principal, list: string, text: string): unknown {
    const octets = Buffer.from(text, 'base64url');
    if (octets.length < IV_LENGTH + TAG_LENGTH || octets.length > MAX_LENGTH) return undefined;
    const decipher = createDecipheriv(CIPHER, this.#cursorKey, octets.subarray(0, IV_LENGTH), { authTagLength: TAG_LENGTH });
    decipher.setAAD(contextOf(principal, list));
    decipher.setAuthTag(octets.subarray(-TAG_LENGTH));
    try {
      const plain = Buffer.concat([decipher.update(octets.subarray(IV_LENGTH, -TAG_LENGTH)), decipher.final()]);
      return JSON.parse(plain.toString('utf8')) as unknown;
    } catch {
      return undefined;
    }
  }

  /** Part of a strong entity tag: other octets, or another caller, have another one. */
  tag(principal: Principal, octets: Uint8Array): string {
    const mac = createHmac('sha256', this.#etagKey).update(contextOf(principal, '')).update(octets).digest();
    return mac.toString('base64url', 0, ETAG_LENGTH);
  }
}

function derive(secret: Uint8Array, label: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', label, KEY_LENGTH));
}

/** A cursor has the total of its first page, which may be of orders that are not seen any more. */
function contextOf({ id, limits }: Principal, text: string): Buffer {
  return Buffer.from(JSON.stringify([id, textOfLimits(limits), text]), 'utf8');
}
