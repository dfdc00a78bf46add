/** What no implementation of the draft can help: the sentences are what the user is told. */

import { randomBytes } from 'node:crypto';
import { decodeM4, derivePsk, openM4, Secret } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { block, D, derive, DraftNetwork, E } from '../draft.js';
import { ProfileNetwork } from '../profile.js';

const VICTIM = 0xa1;

/** `0000` to `9999`, as on the lock of a suitcase: "simple and default password" (draft, section 1). */
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

export const listeningInstaller: Attack = {
  name: 'installer with IK, listening',
  inherent: true,
  sentence:
    'Whoever knows IK_i and hears M1 and M4 computes the PSK: give each node an IK of its own, the default of an order, and join where its installer does not listen.',
  draft() {
    const network = new DraftNetwork();
    const ik = randomBytes(16);
    const victim = network.install(VICTIM, ik);
    const { m1, m4 } = network.join(victim, 'victim')!;
    return derive(ik, m1.subarray(4), block(D(m4.subarray(4), ik), 1)).equals(victim.key);
  },
  profile() {
    const network = new ProfileNetwork();
    const ik = Secret.from(randomBytes(16));
    const victim = network.install(VICTIM, ik);
    const { m1, m4 } = network.join(victim)!;
    const opened = openM4(decodeM4(m4), ik, m1)!;
    return derivePsk(ik, opened.rnI, opened.rnC).equals(network.keyOf(victim));
  },
};
