import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/ciphers/utils.js';
import { BlockCipher, cmac } from './cipher.js';
import { KEY_LENGTH } from './constants.js';
import { equalInConstantTime } from './octets.js';

const FINGERPRINT_LABEL = utf8ToBytes('latchkey fingerprint');

/**
 * A 16-octet key. It prints as `[secret xxxx]`, throws if it is serialised, and can be wiped.
 *
 * The key leaves only through `expose()` and `toHex()`. A review of key use searches for these two.
 */
export class Secret {
  readonly #octets: Uint8Array;
  #cipher: BlockCipher | undefined;
  #ccmCipher: { readonly label: number; readonly cipher: BlockCipher } | undefined;
  #fingerprint: string | undefined;
  #wiped = false;

  private constructor(octets: Uint8Array) {
    this.#octets = octets;
  }

  /** Copies `octets` (16); the caller wipes its own. */
  static from(octets: Uint8Array): Secret {
    if (octets.length !== KEY_LENGTH) throw new RangeError(`a key has ${KEY_LENGTH} octets, not ${octets.length}`);
    return new Secret(new Uint8Array(octets));
  }

  /** Parses 32 hex digits. The error contains no digit of the input. */
  static fromHex(hex: string): Secret {
    if (!/^[0-9a-fA-F]{32}$/.test(hex)) throw new RangeError(`a key is written as ${KEY_LENGTH * 2} hex digits`);
    const octets = hexToBytes(hex);
    const secret = Secret.from(octets);
    octets.fill(0);
    return secret;
  }

  /** Returns a copy of the key, which must be wiped separately. */
  copy(): Secret {
    return Secret.from(this.expose());
  }

  /** The key's own octets, not a copy: neither keep nor change them. */
  expose(): Uint8Array {
    if (this.#wiped) throw new Error('a wiped key was used');
    return this.#octets;
  }

  /** AES-128 under this key: its schedule is made once, and wiped with the key. */
  get cipher(): BlockCipher {
    this.#cipher ??= new BlockCipher(this.expose());
    return this.#cipher;
  }

  /**
   * AES-128 under EK(K, T) = AES-128(K, T || 0^15), T being `label`: a node key is never itself a
   * CCM key (profile, "Primitive"). Kept for the label that was asked for last, and wiped with the
   * key.
   */
  ccmCipher(label: number): BlockCipher {
    if (this.#ccmCipher?.label === label) return this.#ccmCipher.cipher;
    this.#ccmCipher?.cipher.wipe();
    const octets = new Uint8Array(KEY_LENGTH);
    octets[0] = label;
    const ek = this.cipher.encrypt(octets);
    this.#ccmCipher = { label, cipher: new BlockCipher(ek) };
    ek.fill(0);
    return this.#ccmCipher.cipher;
  }

  /** 32 hex digits, for a 0600 file. */
  toHex(): string {
    return bytesToHex(this.expose());
  }

  /**
   * First 4 hex digits of AES-CMAC(key, "latchkey fingerprint"). It distinguishes keys for people,
   * and proves nothing.
   */
  get fingerprint(): string {
    this.#fingerprint ??= bytesToHex(cmac(this.cipher, FINGERPRINT_LABEL).slice(0, 2));
    return this.#fingerprint;
  }

  equals(other: Secret): boolean {
    return equalInConstantTime(this.expose(), other.expose());
  }

  /** Zeroes the key, as far as the runtime has not copied it. Using it afterwards throws. */
  wipe(): void {
    this.#octets.fill(0);
    this.#cipher?.wipe();
    this.#ccmCipher?.cipher.wipe();
    this.#cipher = undefined;
    this.#ccmCipher = undefined;
    this.#fingerprint = undefined;
    this.#wiped = true;
  }

  toString(): string {
    return this.#wiped ? '[secret wiped]' : `[secret ${this.fingerprint}]`;
  }

  toJSON(): never {
    throw new TypeError('a secret does not go into JSON');
  }

  /**
   * Node.js prints objects through this method; the symbol is a registered one, so this package
   * needs nothing of Node.js.
   */
  static {
    Object.defineProperty(Secret.prototype, Symbol.for('nodejs.util.inspect.custom'), {
      value(this: Secret): string {
        return this.toString();
      },
    });
  }
}
