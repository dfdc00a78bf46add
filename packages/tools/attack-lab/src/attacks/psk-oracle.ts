/** The network itself computes E(RN_i xor RN_c, IK_i) for whoever asks: that is the PSK. */

import { randomBytes } from 'node:crypto';
import { encodeM1, LENGTH, RN_LENGTH, Secret, sealM5, TYPE } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { block, decodeM2, DraftNetwork, encodeM1 as draftM1, xor } from '../draft.js';
import { ID_C, newSecret, ProfileNetwork, recordingGenerator, sourceAt } from '../profile.js';

const [VICTIM, SIBLING] = [0xa1, 0xb2];

/** Every run of 16 octets in what was overheard: one of them might be a key. */
function* runsOf16(...messages: readonly Uint8Array[]): Generator<Buffer> {
  for (const octets of messages.map((message) => Buffer.from(message))) {
    for (let at = 0; at + 16 <= octets.length; at++) yield octets.subarray(at, at + 16);
  }
}

export const pskOracle: Attack = {
  name: "PSK oracle by RN_i' = RN_i xor RN_c",
  sentence:
    "An outsider sends M1 with RN_i xor RN_c under the ID of a sibling with the same IK, and M4 begins with the victim's PSK; here no node key is ever a key of CCM.",
  draft() {
    const network = new DraftNetwork();
    const ik = randomBytes(16);
    const victim = network.install(VICTIM, ik);
    network.install(SIBLING, ik);
    // M2 is in the clear, and RN_c in it.
    const m1 = victim.m1();
    const m2 = network.controller.receiveM1(m1, 'victim');
    const m4 = network.controller.receiveM3(network.server.receiveM2(m2)!, 'victim')!;
    victim.receiveM4(m4);

    const asked = draftM1(SIBLING, xor(m1.subarray(4), decodeM2(m2).rnC));
    const attackersKey = block(network.ask(asked, 'attacker')!.subarray(4), 0);
    return attackersKey.equals(victim.key);
  },
  profile() {
    // RN_c is sealed in M2 and M4: the attacker is given it all the same.
    const { recorded, randomOctets } = recordingGenerator();
    const network = new ProfileNetwork({ randomOctets });
    const ik = newSecret();
    const victim = network.install(VICTIM, ik);
    network.install(SIBLING, ik);
    const { m1, m4 } = network.join(victim)!;

    const rn = xor(Buffer.from(m1.subarray(5)), Buffer.from(recorded[0]!));
    const answer = Buffer.from(network.ask(encodeM1({ idI: SIBLING, rnI: rn }), { source: sourceAt('attacker') })!);
    // What M4 seals begins with what the attacker sent: so it has the key stream.
    const keyStream = xor(answer.subarray(13, 29), rn);
    return [...runsOf16(m4, answer, keyStream)].some((run) => Secret.from(run).equals(network.keyOf(victim)));
  },
};

export const pskSteered: Attack = {
  name: 'PSK steered to a known block',
  sentence:
    "M4 pasted together from its own first block makes the node derive E(0, IK), which an M1 with RN 0 has told the attacker; here M4 cannot be cut, and a PSK steered onto CCM's counter block is no key stream.",
  draft() {
    const network = new DraftNetwork();
    const ik = randomBytes(16);
    const victim = network.install(VICTIM, ik);
    network.install(SIBLING, ik);
    const attackersKey = block(network.ask(draftM1(SIBLING, Buffer.alloc(16)), 'attacker')!.subarray(4), 0);
    // The node takes its own RN_i for RN_c: RN_i xor RN_c = 0.
    const m4 = network.ask(victim.m1(), 'victim')!;
    const own = block(m4.subarray(4), 0);
    victim.receiveM4(Buffer.concat([m4.subarray(0, 4), own, own]));
    return attackersKey.equals(victim.key);
  },
  profile() {
    // A generator that the attacker can foretell, and TIDs, which anybody can.
    const rnC = randomBytes(RN_LENGTH);
    const [tid, idC] = [1n, ID_C];
    const network = new ProfileNetwork({ firstTid: tid, randomOctets: (n) => (n === RN_LENGTH ? rnC : randomBytes(n)) });
    const victim = network.install(VICTIM, newSecret());
    // RN_i xor RN_c = A_1, the counter block of M4's first 16 octets (RFC 3610): the PSK would be
    // M4's key stream, were K_i M4's key.
    const a1 = Buffer.alloc(16);
    a1[0] = 1;
    a1[1] = TYPE.M4;
    a1.writeUInt32BE(idC, 2);
    a1.writeBigUInt64BE(tid, 6);
    a1[15] = 1;
    const rnI = xor(a1, rnC);
    const m1 = encodeM1({ idI: VICTIM, rnI });
    const m4 = Buffer.from(network.ask(m1)!);
    const attackersKey = Secret.from(xor(m4.subarray(13, 29), rnI));
    network.ask(sealM5({ idC, tid, m1Octets: m1 }, rnC, attackersKey));

    // And the draft's way: M4's octets in any other order.
    const own = Buffer.from(network.ask(victim.m1())!);
    const pasted = Buffer.concat([own.subarray(0, 29), own.subarray(13, 29), own.subarray(45, LENGTH.M4)]);
    return attackersKey.equals(network.keyOf(victim)) || victim.receiveM4(pasted) !== undefined;
  },
};
