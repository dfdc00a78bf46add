/** The key is replaced before the node has shown that it took part. */

import { randomBytes } from 'node:crypto';
import { CANDIDATE_MIN_AGE_MS, encodeM1, sealM2, TRANSACTION_LIFETIME_MS } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { DraftNetwork, encodeM1 as draftM1, encodeM2 } from '../draft.js';
import { ID_C, newSecret, ProfileNetwork, sourceAt, WALL } from '../profile.js';

const VICTIM = 0xa1;

export const forgedM1: Attack = {
  name: 'premature commit by a forged M1',
  sentence:
    "One datagram with a node's ID makes the draft's server replace its key, and the node is locked out for good; here only the node's own proof, in M7, replaces a key.",
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    network.ask(draftM1(VICTIM, randomBytes(16)), 'attacker');
    return network.join(victim, 'victim') === undefined && network.lockedOut(victim);
  },
  profile() {
    const network = new ProfileNetwork();
    const victim = network.install(VICTIM, newSecret());
    for (let i = 0; i < 100; i++)
      network.ask(encodeM1({ idI: VICTIM, rnI: randomBytes(16) }), { source: sourceAt(`attacker ${i}`, i % 2 === 0) });
    return network.lockedOut(victim) || !network.stillJoins(victim);
  },
};

export const lostAnswer: Attack = {
  name: 'one message suppressed',
  sentence:
    "A lost M4 leaves the draft's server with a key the node never had; here the node keeps the old key and the new one until M6 opens, and comes back from any loss.",
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    network.ask(victim.m1(), 'victim');
    return network.join(victim, 'victim') === undefined && network.lockedOut(victim);
  },
  profile() {
    // Each message in turn, and up to four times in a row.
    return (['M4', 'M5', 'M8', 'M6'] as const).some((lost) =>
      [1, 2, 3, 4].some((times) => {
        const network = new ProfileNetwork();
        const victim = network.install(VICTIM, newSecret());
        for (let i = 0; i < times; i++) {
          const m4 = network.ask(victim.m1());
          const m5 = lost === 'M4' || m4 === undefined ? undefined : victim.receiveM4(m4);
          // The server commits and its M8 does not arrive; or the controller has M8, and its M6
          // does not.
          if (lost !== 'M5' && m5 !== undefined)
            network.ask(m5, { onLink: (m7) => (lost === 'M8' ? void network.serve(m7) : network.serve(m7)) });
          if (network.lockedOut(victim)) return true;
          // An attempt lasts as long as a transaction lives.
          network.elapsed += TRANSACTION_LIFETIME_MS;
          victim.powered += TRANSACTION_LIFETIME_MS;
        }
        // Four candidates may be open: the node waits until the oldest may go.
        network.elapsed += CANDIDATE_MIN_AGE_MS;
        victim.powered += CANDIDATE_MIN_AGE_MS;
        return !network.stillJoins(victim);
      }),
    );
  },
};

export const forgedM2: Attack = {
  name: 'forged or replayed M2 and M7',
  sentence:
    "Nothing in the draft's M2 is authenticated: whoever reaches the server replaces keys at will; here M2 and M7 are sealed, and a repeated M7 is answered with what it did the first time.",
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    network.join(victim, 'victim');
    const m1 = draftM1(VICTIM, randomBytes(16));
    network.server.receiveM2(encodeM2({ idC: 1, rnC: randomBytes(16), tid: 9n, ts: network.server.now, m1 }));
    return network.lockedOut(victim);
  },
  profile() {
    const network = new ProfileNetwork();
    const victim = network.install(VICTIM, newSecret());
    const recorded: Uint8Array[] = [];
    const onLink = (request: Uint8Array): Uint8Array | undefined => {
      recorded.push(request);
      return network.serve(request);
    };
    for (let i = 0; i < 2; i++) {
      const m5 = victim.receiveM4(network.ask(victim.m1(), { onLink })!)!;
      victim.receiveM6(network.ask(m5, { onLink })!);
    }
    const key = network.keyOf(victim);
    const header = { idC: ID_C, tid: 9n, nonce: randomBytes(13) };
    const m1Octets = encodeM1({ idI: VICTIM, rnI: randomBytes(16) });
    const forged = sealM2(header, { rnC: randomBytes(16), ts: BigInt(WALL), m1Octets }, newSecret());
    const answered = network.serve(forged) !== undefined;
    for (const request of recorded) network.serve(request);
    return answered || !key.equals(network.keyOf(victim)) || !network.stillJoins(victim);
  },
};
