/** Between node and controller: whose key it is, whose M4, and that it is whole. */

import { randomBytes } from 'node:crypto';
import { encodeM1, LENGTH } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { DraftNetwork, encodeM1 as draftM1, u32 } from '../draft.js';
import { newSecret, OTHER_ID_C, ProfileNetwork, ProfileNode } from '../profile.js';

const [VICTIM, SIBLING] = [0xa1, 0xb2];

export const misbinding: Attack = {
  name: 'identity misbinding with a shared IK',
  sentence:
    "ID_i changed in M1 binds the key of one node to a sibling's name, with nobody the wiser; here the node opens M4 and proves itself over the M1 it sent, ID_i and all.",
  draft() {
    const network = new DraftNetwork();
    const ik = randomBytes(16);
    const victim = network.install(VICTIM, ik);
    network.install(SIBLING, ik);
    const altered = draftM1(SIBLING, victim.m1().subarray(4));
    const m5 = victim.receiveM4(network.ask(altered, 'victim')!);
    // The node believes it has joined as itself; the network knows it as the other.
    return (
      m5 !== undefined &&
      network.controller.receiveM5(m5, 'victim') &&
      network.controller.verified.get(SIBLING)?.equals(victim.key) === true
    );
  },
  profile() {
    const network = new ProfileNetwork();
    const ik = newSecret();
    const victim = network.install(VICTIM, ik);
    network.install(SIBLING, ik);
    const m4 = network.ask(encodeM1({ idI: SIBLING, rnI: victim.m1().subarray(5) }));
    return m4 !== undefined && victim.receiveM4(m4) !== undefined;
  },
};

export const wrongController: Attack = {
  name: 'ID_c changed in M4',
  sentence:
    "The draft's node takes whatever ID_c stands before the sealed part for its controller; here ID_c is in the nonce and in the associated data, and must be one that was ordered.",
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    const m4 = network.ask(victim.m1(), 'victim')!;
    victim.receiveM4(Buffer.concat([u32(OTHER_ID_C), m4.subarray(4)]));
    return victim.joinedTo === OTHER_ID_C;
  },
  profile() {
    const network = new ProfileNetwork();
    const ik = newSecret();
    network.install(VICTIM, ik);
    // Ordered for both, so that the ID alone does not give it away.
    const victim = new ProfileNode(VICTIM, ik, [1, OTHER_ID_C]);
    const m4 = Buffer.from(network.ask(victim.m1())!);
    m4.writeUInt32BE(OTHER_ID_C, 1);
    return victim.receiveM4(m4) !== undefined;
  },
};

export const alteredM4: Attack = {
  name: 'M4 altered on its way',
  sentence:
    "A bit changed in RN_c gives the draft's node a key that nobody else has, and takes the old one away; here an M4 that does not verify is ignored, and the right one counts.",
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    const m4 = network.ask(victim.m1(), 'victim')!;
    m4[35]! ^= 1;
    return victim.receiveM4(m4) !== undefined && network.lockedOut(victim);
  },
  profile() {
    const network = new ProfileNetwork();
    const victim = network.install(VICTIM, newSecret());
    const m4 = network.ask(victim.m1())!;
    for (let bit = 0; bit < 8 * LENGTH.M4; bit++) {
      const altered = Uint8Array.from(m4, (octet, i) => (i === bit >> 3 ? octet ^ (1 << (bit & 7)) : octet));
      if (victim.receiveM4(altered) !== undefined) return true;
    }
    const m6 = network.ask(victim.receiveM4(m4)!);
    return m6 === undefined || !victim.receiveM6(m6) || network.lockedOut(victim);
  },
};
