/**
 * Attacks that no implementation of the draft can prevent, with the sentences that tell users. Also
 * attacks that split initial keys prevent.
 */

import { createDecipheriv, randomBytes } from 'node:crypto';
import { aes128, decodeM4, deriveInitialKey, derivePsk, openM4, Secret } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { block, D, derive, DraftNetwork, E } from '../draft.js';
import { newSecret, ProfileNetwork, type ProfileNode } from '../profile.js';

const VICTIM = 0xa1;

/**
 * `0000` to `9999`, as on the lock of a suitcase: "simple and default password" (draft, section 1).
 */
function* suitcaseKeys(): Generator<Buffer> {
  for (let code = 0; code < 10_000; code++) yield Buffer.from(String(code).padStart(4, '0').padEnd(16, '\0'), 'latin1');
}

function weakKey(): Buffer {
  const code = randomBytes(4).readUInt32BE() % 10_000;
  return [...suitcaseKeys()][code]!;
}

export const offlineGuessing: Attack = {
  name: 'offline guessing of a weak IK',
  inherent: true,
  sentence: 'Whoever has heard M1 and M4 tries keys at leisure: IKs must be random, as those of an order are, 128 bits each.',
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, weakKey());
    const { m1, m4 } = network.join(victim, 'victim')!;
    const rnI = m1.subarray(4);
    for (const guess of suitcaseKeys()) {
      if (!E(rnI, guess).equals(block(m4.subarray(4), 0))) continue;
      return derive(guess, rnI, block(D(m4.subarray(4), guess), 1)).equals(victim.key);
    }
    return false;
  },
  profile() {
    const network = new ProfileNetwork();
    const victim = network.install(VICTIM, Secret.from(weakKey()));
    const { m1, m4 } = network.join(victim)!;
    for (const octets of suitcaseKeys()) {
      const guess = Secret.from(octets);
      const opened = openM4(decodeM4(m4), guess, m1);
      if (opened !== undefined) return derivePsk(guess, opened.rnI, opened.rnC).equals(network.keyOf(victim));
    }
    return false;
  },
};

/** An installer who knows IK_i and hears the exchange, in the draft. */
function listensToDraft(): boolean {
  const network = new DraftNetwork();
  const ik = randomBytes(16);
  const victim = network.install(VICTIM, ik);
  const { m1, m4 } = network.join(victim, 'victim')!;
  return derive(ik, m1.subarray(4), block(D(m4.subarray(4), ik), 1)).equals(victim.key);
}

/** Returns true if one of the guesses opens what was heard, and gives the victim's key. */
function opensWithOneOf(guesses: Iterable<Secret>, { m1, m4 }: Readonly<Record<'m1' | 'm4', Uint8Array>>, key: Secret): boolean {
  for (const guess of guesses) {
    const opened = openM4(decodeM4(m4), guess, m1);
    if (opened !== undefined && derivePsk(guess, opened.rnI, opened.rnC).equals(key)) return true;
  }
  return false;
}

export const listeningInstaller: Attack = {
  name: 'installer with IK, listening',
  inherent: true,
  sentence:
    'Whoever knows IK_i and hears M1 and M4 computes the PSK: give each node an IK of its own, the default of an order, and join where its installer does not listen.',
  draft: listensToDraft,
  profile() {
    const network = new ProfileNetwork();
    const ik = Secret.from(randomBytes(16));
    const victim = network.install(VICTIM, ik);
    return opensWithOneOf([ik], network.join(victim)!, network.keyOf(victim));
  },
};

const SIBLING = 0xa2;

/**
 * Two devices of one order: the installer has one half for both, the manufacturer a device key
 * each.
 */
function installSplit(network: ProfileNetwork): {
  readonly half: Secret;
  readonly victim: ProfileNode;
  readonly victimDeviceKey: Secret;
  readonly sibling: { readonly ik: Secret; readonly deviceKey: Secret };
} {
  const [half, victimDeviceKey, deviceKey] = [newSecret(), newSecret(), newSecret()];
  const ik = deriveInitialKey(deviceKey, half);
  network.install(SIBLING, ik);
  const victim = network.install(VICTIM, deriveInitialKey(victimDeviceKey, half));
  return { half, victim, victimDeviceKey, sibling: { ik, deviceKey } };
}

/** The inverse of AES-128 for one block. */
function decrypt(key: Secret, octets: Uint8Array): Buffer {
  return createDecipheriv('aes-128-ecb', key.expose(), null).setAutoPadding(false).update(octets);
}

const xor = (a: Uint8Array, b: Uint8Array): Buffer => Buffer.from(a.map((octet, i) => octet ^ b[i]!));

export const listeningInstallerOfSplitKeys: Attack = {
  name: 'installer with IK, listening; split keys',
  sentence:
    'Whoever knows IK_i and hears M1 and M4 computes the PSK: with split initial keys an installer has only a half of IK_i, and gets no further with IKs of other devices.',
  draft: listensToDraft,
  profile() {
    const network = new ProfileNetwork();
    const { half, victim, sibling } = installSplit(network);
    const heard = network.join(victim)!;
    // The half itself, the key of a device that was opened, and what either makes of the other.
    const [known, extracted] = [half.expose(), sibling.ik.expose()];
    const guesses = [
      known,
      extracted,
      xor(known, extracted),
      aes128(known, extracted),
      aes128(extracted, known),
      aes128(known, known),
    ];
    return opensWithOneOf(
      guesses.map((octets) => Secret.from(octets)),
      heard,
      network.keyOf(victim),
    );
  },
};

export const manufacturerWithExtractedKey: Attack = {
  name: 'manufacturer and one extracted IK',
  sentence:
    'Whoever made the device and has one IK of the order, which all its nodes share, computes the PSK: from a device key and an IK that it made nobody gets the half, since IK_i = AES-128(DK_i, h) XOR h cannot be inverted.',
  draft: listensToDraft,
  profile() {
    const network = new ProfileNetwork();
    const { victim, victimDeviceKey, sibling } = installSplit(network);
    const heard = network.join(victim)!;
    const { ik, deviceKey } = sibling;
    // Were IK_i no more than AES-128(DK_i, h), the first of these would be h.
    const halves = [decrypt(deviceKey, ik.expose()), xor(decrypt(deviceKey, ik.expose()), ik.expose()), Buffer.from(ik.expose())];
    const guesses = [...halves.map((octets) => deriveInitialKey(victimDeviceKey, Secret.from(octets))), victimDeviceKey, ik];
    return opensWithOneOf(guesses, heard, network.keyOf(victim));
  },
};
