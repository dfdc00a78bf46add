/** A machine that goes back to what it was. */

import { createHash, randomBytes } from 'node:crypto';
import { decodeM4, encodeM1, LENGTH } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { DraftNetwork, xor } from '../draft.js';
import { newSecret, octetsOf, ProfileNetwork, sourceAt, WALL } from '../profile.js';

const [VICTIM, OWN] = [0xa1, 0xb2];

/** A generator whose state can be copied, as it is in a snapshot of memory. */
function generator(seed: string): (n: number) => Buffer {
  let drawn = 0;
  return (n) => createHash('sha256').update(`${seed} ${drawn++}`).digest().subarray(0, n);
}

export const restoredState: Attack = {
  name: "nonce reuse after a controller's state was restored",
  sentence:
    'A controller set back draws serial numbers and recorded M1 and M5 pass again; here TIDs start from the clock, RN_c and nonces from the generator, and a recorded M5 names no open transaction.',
  draft() {
    // A controller that includes the server, as the draft allows, restored from a snapshot with its
    // generator.
    const ik = randomBytes(16);
    const seed = randomBytes(8).toString('hex');
    const start = (): DraftNetwork => {
      const draw = generator(seed);
      return new DraftNetwork(() => draw(16));
    };
    const before = start();
    const { m1, m5 } = before.join(before.install(VICTIM, ik), 'victim')!;
    const restored = start();
    restored.install(VICTIM, ik);
    restored.ask(m1, 'attacker');
    return restored.controller.receiveM5(m5, 'attacker');
  },
  profile() {
    const network = new ProfileNetwork({ firstTid: BigInt(WALL) * 1000n });
    const victim = network.install(VICTIM, newSecret());
    const { m1, m4, m5 } = network.join(victim)!;
    // The state folder is that of before the join; the clock is not, and TIDs are no lower than it.
    network.elapsed = 5_000;
    network.restart(BigInt(WALL + network.elapsed) * 1000n);
    const replayed = network.ask(m1, { source: sourceAt('attacker') });
    const sameNonce = replayed !== undefined && Buffer.from(replayed.subarray(0, 13)).equals(m4.subarray(0, 13));
    const again = network.ask(m5, { source: sourceAt('attacker') });
    return sameNonce || again !== undefined || decodeM4(replayed!).tid <= decodeM4(m4).tid || !network.stillJoins(victim);
  },
};

export const resumedMemory: Attack = {
  name: 'memory of a running daemon resumed from a snapshot',
  sentence:
    'A generator that is set back draws what it drew before, and two M3 under one nonce give K_i to the owner of another node who listens on the link; here a nonce also depends on what is sealed.',
  draft: restoredState.draft,
  profile() {
    const seed = randomBytes(8).toString('hex');
    let draw: (n: number) => Buffer = generator(seed);
    const network = new ProfileNetwork({ randomOctets: (n) => draw(n) });
    const [key, ownKey] = [newSecret(), newSecret()];
    network.install(VICTIM, key);
    network.install(OWN, ownKey);
    const m3For = (idI: number): Buffer => {
      let m3: Uint8Array | undefined;
      network.ask(encodeM1({ idI, rnI: randomBytes(16) }), {
        source: sourceAt(`${idI}`),
        onLink: (m2) => (m3 = network.serve(m2)),
      });
      return Buffer.from(m3!).subarray(14, LENGTH.M3);
    };
    const victims = m3For(VICTIM);
    draw = generator(seed);
    const own = m3For(OWN);
    // One key stream under both: K_i = E(K_i) xor E(K_own) xor K_own.
    return xor(xor(victims, own).subarray(0, 16), octetsOf(ownKey)).equals(octetsOf(key));
  },
};
