// Proves that keys at rest are wrapped as RFC 3394 says and in their place alone, and that a master
// key is replaced without a gap.

import { createDecipheriv, randomBytes } from 'node:crypto';
import { Secret } from '@latchkey/protocol';
import { aeskw } from '@noble/ciphers/aes.js';
import { describe, expect, it } from 'vitest';
import { Keyring, KEY_KIND, type KeyContext } from '../src/keyring.js';
import { LmdbMetadata } from '../src/lmdb-metadata.js';
import { copyOf, NAME, newSecret, SealedStore } from '@latchkey/test-support/sealed-store';

const NODE: KeyContext = { kind: KEY_KIND.node, id: 0xa1b2_c3d4 };

/** The other implementation: node:crypto's, with the initial value of RFC 3394, section 2.2.3.1. */
function unwrapByNode(master: Uint8Array, wrapped: Uint8Array): Buffer {
  const cipher = createDecipheriv('id-aes128-wrap', master, Buffer.alloc(8, 0xa6));
  return Buffer.concat([cipher.update(wrapped), cipher.final()]);
}

/** What unsealing gives: a key in hex, or the words it fails with. */
function outcome(action: () => Secret): string {
  try {
    return action().toHex();
  } catch (error) {
    return (error as Error).message;
  }
}

const MOVED = `a key in ${NAME} does not open in its place: the store was changed by something else`;
const REPLACED = `the master key of ${NAME} was replaced meanwhile`;

describe('AES key wrap', () => {
  it('is that of RFC 3394, section 4.1', () => {
    const kek = Buffer.from('000102030405060708090A0B0C0D0E0F', 'hex');
    const key = Buffer.from('00112233445566778899AABBCCDDEEFF', 'hex');
    const wrapped = '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5';
    expect(Buffer.from(aeskw(kek).encrypt(key)).toString('hex')).toBe(wrapped);
    expect(unwrapByNode(kek, Buffer.from(wrapped, 'hex')).equals(key)).toBe(true);
  });
});

describe('a sealed key', () => {
  it('is the number of the master key, then the key and its place wrapped, as another implementation unwraps it', async () => {
    const [master, key] = [newSecret(), newSecret()];
    const { keyring } = await SealedStore.create(master);
    const places = Object.values(KEY_KIND).flatMap((kind) => [0, 1, 0xffff_ffff].map((id): KeyContext => ({ kind, id })));
    expect(places).toHaveLength(21);
    for (const place of places) {
      const sealed = keyring.seal(place, key);
      expect([sealed.length, sealed[0]]).toEqual([33, 1]);
      const id = place.id.toString(16).padStart(8, '0');
      expect(unwrapByNode(master.expose(), sealed.subarray(1)).toString('hex')).toBe(`${key.toHex()}0${place.kind}${id}000000`);
      expect(keyring.unseal(place, sealed).toHex()).toBe(key.toHex());
    }
  });

  it('does not open in another place', async () => {
    const { keyring } = await SealedStore.create(newSecret());
    const sealed = keyring.seal(NODE, newSecret());
    for (const kind of Object.values(KEY_KIND)) {
      for (const id of [0, 1, NODE.id, NODE.id + 1]) {
        if (kind === NODE.kind && id === NODE.id) continue;
        expect(outcome(() => keyring.unseal({ kind, id }, sealed))).toBe(MOVED);
      }
    }
  });

  it('does not open with one bit changed, cut short or longer', async () => {
    const { keyring } = await SealedStore.create(newSecret());
    const sealed = keyring.seal(NODE, newSecret());
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Uint8Array.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(
        outcome(() => keyring.unseal(NODE, changed)),
        `bit ${bit}`,
      ).toBe(bit < 8 ? REPLACED : MOVED);
    }
    const others = [...Array(sealed.length).keys()].map((length) => sealed.subarray(0, length));
    for (const other of [...others, Uint8Array.of(...sealed, 0), Uint8Array.of(...sealed, ...randomBytes(8))])
      expect(outcome(() => keyring.unseal(NODE, other))).toBe(other.length === 0 ? REPLACED : MOVED);
  });

  it('does not open in another store under another master key', async () => {
    const [one, two] = [await SealedStore.create(newSecret()), await SealedStore.create(newSecret())];
    expect(outcome(() => two.keyring.unseal(NODE, one.keyring.seal(NODE, newSecret())))).toBe(MOVED);
  });

  it('is not told by what fails', async () => {
    const [master, key] = [newSecret(), newSecret()];
    const { keyring } = await SealedStore.create(master);
    const sealed = keyring.seal(NODE, key);
    const error = (() => {
      try {
        return keyring.unseal({ ...NODE, id: 1 }, sealed);
      } catch (caught) {
        return caught as Error & { advice?: string };
      }
    })();
    if (error instanceof Secret) throw new Error('it opened');
    const words = `${error.message} ${error.advice} ${error.stack} ${String(error.cause)}`;
    for (const octets of [master.toHex(), key.toHex(), Buffer.from(sealed).toString('hex')])
      expect(words.toLowerCase()).not.toContain(octets.slice(0, 12));
  });
});

describe('a store', () => {
  it('opens under its own master key, and no other, which writes nothing', async () => {
    const [master, other] = [newSecret(), newSecret()];
    const { folder, metadata, keyring } = await SealedStore.create(master);
    const [sealed, before] = [keyring.seal(NODE, newSecret()), metadata.get('master key')];
    const again = await SealedStore.open(folder, master);
    expect(outcome(() => again.keyring.unseal(NODE, sealed))).toBe(outcome(() => keyring.unseal(NODE, sealed)));
    expect(() => Keyring.open(new LmdbMetadata(metadata), NAME, copyOf(other))).toThrow(
      `the keys in ${NAME} are not sealed under the master key [secret ${other.fingerprint}]`,
    );
    expect(metadata.get('master key')).toEqual(before);
  });

  it('that was made without a master key does not open under any', async () => {
    const { metadata } = await SealedStore.create(newSecret());
    expect(Keyring.existsIn(new LmdbMetadata(metadata))).toBe(true);
    metadata.removeSync('master key');
    expect(Keyring.existsIn(new LmdbMetadata(metadata))).toBe(false);
    expect(() => Keyring.open(new LmdbMetadata(metadata), NAME, newSecret())).toThrow('are not sealed under the master key');
  });
});

describe('while its master key is replaced, a store', () => {
  it('opens under both, seals what is new under the next, and under that alone in the end', async () => {
    const [first, second, key] = [newSecret(), newSecret(), newSecret()];
    const store = await SealedStore.create(first);
    const { keyring, folder } = store;
    const old = keyring.seal(NODE, key);
    expect([keyring.masterKeyNumber, keyring.isRotating, keyring.isUnderCurrentKey(old)]).toEqual([1, false, true]);
    await store.write(() => keyring.beginRotation(copyOf(second)));
    expect([keyring.masterKeyNumber, keyring.isRotating, keyring.isUnderCurrentKey(old)]).toEqual([2, true, false]);

    const fresh = keyring.seal(NODE, key);
    expect(keyring.isUnderCurrentKey(fresh)).toBe(true);
    expect(unwrapByNode(second.expose(), fresh.subarray(1)).toString('hex', 0, 16)).toBe(key.toHex());
    for (const master of [first, second]) {
      const { keyring: other } = await SealedStore.open(folder, master);
      for (const sealed of [old, fresh]) expect(outcome(() => other.unseal(NODE, sealed))).toBe(key.toHex());
      expect([other.masterKeyNumber, other.isRotating, other.isUnderCurrentKey(other.seal(NODE, key))]).toEqual([2, true, true]);
    }
    await expect(SealedStore.open(folder, newSecret())).rejects.toThrow('are not sealed under the master key');

    await store.write(() => keyring.finishRotation());
    keyring.reload();
    expect([keyring.masterKeyNumber, keyring.isRotating]).toEqual([2, false]);
    for (const { keyring: one } of [store, await SealedStore.open(folder, second)]) {
      expect(outcome(() => one.unseal(NODE, fresh))).toBe(key.toHex());
      expect(outcome(() => one.unseal(NODE, old))).toBe(REPLACED);
    }
    await expect(SealedStore.open(folder, first)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `the keys in ${NAME} are not sealed under the master key [secret ${first.fingerprint}]`,
    });
  });

  it('keeps neither master key unwrapped, and the old one in no form after that', async () => {
    const [first, second] = [newSecret(), newSecret()];
    const store = await SealedStore.create(first);
    const row = (): string => JSON.stringify(store.metadata.get('master key'), (_, value: unknown) => hexOf(value));
    await store.write(() => store.keyring.beginRotation(copyOf(second)));
    for (const master of [first, second]) expect(row()).not.toContain(master.toHex());
    expect(row()).toContain('wrapped');
    await store.write(() => store.keyring.finishRotation());
    expect(row()).not.toContain('wrapped');
  });

  it('goes on with the same next one, and refuses a third, or the one in use', async () => {
    const [first, second, third] = [newSecret(), newSecret(), newSecret()];
    const store = await SealedStore.create(first);
    const begin = (store: SealedStore, next: Secret): Promise<void> =>
      store.write(() => store.keyring.beginRotation(copyOf(next)));
    await expect(begin(store, first)).rejects.toMatchObject({ message: 'the new master key is the one in use' });
    expect(store.keyring.isRotating).toBe(false);
    await begin(store, second);
    await begin(await SealedStore.open(store.folder, first), second);
    await begin(await SealedStore.open(store.folder, second), second);
    const refused = {
      name: 'UsageFailure',
      message: expect.stringContaining(
        `is being replaced by [secret ${second.fingerprint}] already, not by [secret ${third.fingerprint}]`,
      ) as string,
    };
    await expect(begin(store, third)).rejects.toMatchObject(refused);
    await expect(begin(await SealedStore.open(store.folder, first), third)).rejects.toMatchObject(refused);
    expect([store.keyring.masterKeyNumber, store.keyring.isRotating]).toEqual([2, true]);
  });

  it('follows another process that begins and ends it, in what it writes and in what it reads', async () => {
    const [first, second, key] = [newSecret(), newSecret(), newSecret()];
    const one = await SealedStore.create(first);
    const two = await SealedStore.open(one.folder, first);
    const put = (store: SealedStore, id: number): Promise<void> =>
      store.write(() => store.keys.putSync(id, store.keyring.seal({ kind: KEY_KIND.node, id }, key)));
    const read = (store: SealedStore, id: number): string => {
      store.env.resetReadTxn();
      return outcome(() => store.keyring.unseal({ kind: KEY_KIND.node, id }, store.keys.get(id)!));
    };
    await put(two, 1);
    await one.write(() => one.keyring.beginRotation(copyOf(second)));
    await put(one, 2);
    expect(read(two, 2)).toBe(key.toHex());
    await put(two, 3);
    expect(two.keyring.masterKeyNumber).toBe(2);
    for (const store of [one, two]) for (const id of [1, 2, 3]) expect(read(store, id)).toBe(key.toHex());
    for (const id of [1, 2, 3]) await put(one, id);
    await one.write(() => one.keyring.finishRotation());
    await put(two, 4);
    expect([two.keyring.masterKeyNumber, two.keyring.isRotating]).toEqual([2, false]);
    for (const store of [one, two]) for (const id of [1, 2, 3, 4]) expect(read(store, id)).toBe(key.toHex());
    // And on to a third, begun by the other.
    const third = newSecret();
    await two.write(() => two.keyring.beginRotation(copyOf(third)));
    await put(one, 5);
    expect([one.keyring.masterKeyNumber, read(two, 5)]).toEqual([3, key.toHex()]);
  });

  it('tells one that slept through all of it, and refuses its writes', async () => {
    const [first, second] = [newSecret(), newSecret()];
    const one = await SealedStore.create(first);
    const asleep = await SealedStore.open(one.folder, first);
    await one.write(() => one.keyring.beginRotation(copyOf(second)));
    await one.write(() => one.keyring.finishRotation());
    const sealed = one.keyring.seal(NODE, newSecret());
    asleep.env.resetReadTxn();
    expect(outcome(() => asleep.keyring.unseal(NODE, sealed))).toBe(REPLACED);
    await expect(asleep.write(() => asleep.keys.putSync(1, sealed))).rejects.toMatchObject({ message: REPLACED });
    expect(one.keys.get(1)).toBeUndefined();
  });

  it('does not begin where the transaction that began it was taken back', async () => {
    const [first, second, key] = [newSecret(), newSecret(), newSecret()];
    const store = await SealedStore.create(first);
    const { keyring } = store;
    const taken = store.write(() => {
      keyring.beginRotation(copyOf(second));
      throw new RangeError('taken back');
    });
    await expect(taken).rejects.toThrow('taken back');
    const sealed = await store.write(() => keyring.seal(NODE, key));
    expect([keyring.masterKeyNumber, keyring.isRotating, sealed[0]]).toEqual([1, false, 1]);
    expect(unwrapByNode(first.expose(), sealed.subarray(1)).toString('hex', 0, 16)).toBe(key.toHex());
    await SealedStore.open(store.folder, first);
    await expect(SealedStore.open(store.folder, second)).rejects.toMatchObject({ name: 'UsageFailure' });
  });

  // finish() lets go of the old master key before the disk has the new row: the process that
  // rotates is left with neither.
  it('does not end where the transaction that ended it was taken back: the next one ends it', async () => {
    const [first, second, key] = [newSecret(), newSecret(), newSecret()];
    const store = await SealedStore.create(first);
    const { keyring } = store;
    const old = keyring.seal(NODE, key);
    await store.write(() => keyring.beginRotation(copyOf(second)));
    const taken = store.write(() => {
      keyring.finishRotation();
      throw new RangeError('taken back');
    });
    await expect(taken).rejects.toThrow('taken back');
    for (const master of [first, second]) await SealedStore.open(store.folder, master);
    expect(outcome(() => keyring.unseal(NODE, old))).toBe(key.toHex());
    await store.write(() => keyring.finishRotation());
    await expect(SealedStore.open(store.folder, first)).rejects.toMatchObject({ name: 'UsageFailure' });
  });

  it('tells 256 master keys apart, and goes on after that', async () => {
    const [masters, key] = [Array.from({ length: 260 }, newSecret), newSecret()];
    const store = await SealedStore.create(masters[0]!);
    const { keyring } = store;
    let sealed = keyring.seal(NODE, key);
    for (const next of masters.slice(1)) {
      await store.write(() => keyring.beginRotation(copyOf(next)));
      expect([keyring.isUnderCurrentKey(sealed), outcome(() => keyring.unseal(NODE, sealed))]).toEqual([false, key.toHex()]);
      sealed = keyring.seal(NODE, key);
      await store.write(() => keyring.finishRotation());
      expect(outcome(() => keyring.unseal(NODE, sealed))).toBe(key.toHex());
    }
    expect(keyring.masterKeyNumber).toBe(260);
    await SealedStore.open(store.folder, masters[259]!);
  });
});

function hexOf(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  // What a Buffer is by the time JSON sees it.
  return value !== null && typeof value === 'object' && 'data' in value
    ? Buffer.from(value.data as number[]).toString('hex')
    : value;
}
