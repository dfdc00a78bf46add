/** Attacks between controller and auth-server: one answer that is accepted in place of another. */

import { randomBytes } from 'node:crypto';
import { encodeM1, expiryOf, LENGTH, openM3, sealM2, TYPE } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { block, D, decodeM2, derive, DraftNetwork, E, encodeM1 as draftM1, encodeM2, PERIOD_MS } from '../draft.js';
import { ID_C, newSecret, octetsOf, OTHER_ID_C, ProfileNetwork, sourceAt, WALL } from '../profile.js';

const [VICTIM, OWN] = [0xa1, 0xb2];
const YEAR_MS = 31_557_600_000;

/**
 * The attacker plays the victim towards the draft's controller, having seen to it that the
 * controller takes `key` for the victim's. Whether the controller then holds a key for the victim
 * that the attacker has.
 */
function playsVictim(network: DraftNetwork, key: Buffer, m3: (genuine: Buffer) => Buffer): boolean {
  const rnI = randomBytes(16);
  const genuine = network.server.receiveM2(network.controller.receiveM1(draftM1(VICTIM, rnI), 'attacker'))!;
  const m4 = network.controller.receiveM3(m3(genuine), 'attacker');
  if (m4 === undefined) return false;
  const rnC = block(D(m4.subarray(4), key), 1);
  const attackersKey = derive(key, rnI, rnC);
  network.controller.receiveM5(E(rnC, attackersKey), 'attacker');
  return network.controller.verified.get(VICTIM)?.equals(attackersKey) === true;
}

/** Every exchange of a join on the link, request by request. */
function recordJoin(network: ProfileNetwork, idI: number): { readonly request: Uint8Array; readonly answer: Uint8Array }[] {
  const record: { request: Uint8Array; answer: Uint8Array }[] = [];
  const node = network.install(idI, newSecret());
  const onLink = (request: Uint8Array): Uint8Array | undefined => {
    const answer = network.serve(request);
    if (answer !== undefined) record.push({ request, answer });
    return answer;
  };
  const m5 = node.receiveM4(network.ask(node.m1(), { onLink })!)!;
  node.receiveM6(network.ask(m5, { onLink })!);
  return record;
}

/**
 * Returns true if the controller continues with the attacker's M1 for the victim when this replaces
 * M3.
 */
function takes(network: ProfileNetwork, m3: (genuine: Uint8Array) => Uint8Array): boolean {
  const m1 = encodeM1({ idI: VICTIM, rnI: randomBytes(16) });
  const source = sourceAt(`attacker ${randomBytes(4).toString('hex')}`, true);
  return network.ask(m1, { source, onLink: (m2) => m3(network.serve(m2)!) }) !== undefined;
}

/** With the first octet and the length of another message. */
function disguised(octets: Uint8Array, name: keyof typeof TYPE): Uint8Array {
  const out = new Uint8Array(LENGTH[name]);
  out.set(octets.subarray(0, out.length));
  out[0] = TYPE[name];
  return out;
}

export const splicedM3: Attack = {
  name: 'M3 spliced',
  sentence:
    "The owner of one node joins as another by pasting its own key's block of M3 before the other's ID; here M3 opens whole, over the very M2 it answers, or not at all.",
  draft() {
    const network = new DraftNetwork();
    network.install(VICTIM, randomBytes(16));
    const ownKey = randomBytes(16);
    network.install(OWN, ownKey);
    const ownM3 = network.server.receiveM2(network.controller.receiveM1(draftM1(OWN, randomBytes(16)), 'own'))!;
    return playsVictim(network, ownKey, (genuine) => Buffer.concat([block(ownM3, 0), block(genuine, 1)]));
  },
  profile() {
    const network = new ProfileNetwork();
    const own = recordJoin(network, OWN)[0]!.answer;
    network.install(VICTIM, newSecret());
    // Cut at every octet, either way round. Both begin alike: the first cut that makes a difference
    // is behind the type.
    return Array.from({ length: LENGTH.M3 - 2 }, (_, i) => i + 2).some(
      (at) =>
        takes(network, (genuine) => Buffer.concat([own.subarray(0, at), genuine.subarray(at)])) ||
        takes(network, (genuine) => Buffer.concat([genuine.subarray(0, at), own.subarray(at)])),
    );
  },
};

export const replayedM3: Attack = {
  name: 'M3 replayed: the key rolled back',
  sentence:
    'An old M3 makes the controller believe in the initial key again, which the installer knows; here M3 is bound to its M2, and M4 is sealed under the key read for this transaction.',
  draft() {
    const network = new DraftNetwork();
    const ik = randomBytes(16);
    const victim = network.install(VICTIM, ik);
    // Recorded as the node joined, with none of it understood. The installer did not hear M1 and
    // M4.
    const m1 = victim.m1();
    const recorded = network.server.receiveM2(network.controller.receiveM1(m1, 'victim'))!;
    network.controller.receiveM5(victim.receiveM4(network.controller.receiveM3(recorded, 'victim')!)!, 'victim');
    return playsVictim(network, ik, () => recorded);
  },
  profile() {
    const network = new ProfileNetwork();
    const recorded = recordJoin(network, VICTIM).map(({ answer }) => answer);
    return recorded.some((answer) => takes(network, () => answer));
  },
};

export const typeConfusion: Attack = {
  name: 'type confusion',
  sentence:
    'The second block of M3 put before itself makes the controller take ID_i for K_i, and anybody joins; here each message opens as its own type alone, in its own place.',
  draft() {
    const network = new DraftNetwork();
    network.install(VICTIM, randomBytes(16));
    const idAsKey = Buffer.concat([draftM1(VICTIM, Buffer.alloc(0)), Buffer.alloc(12)]);
    return playsVictim(network, idAsKey, (genuine) => Buffer.concat([block(genuine, 1), block(genuine, 1)]));
  },
  profile() {
    // Every message of this exchange and of another's in the place of every message of another
    // type: as it is, and disguised.
    const network = new ProfileNetwork();
    const node = network.install(VICTIM, newSecret());
    const seen = recordJoin(network, OWN).flatMap(({ request, answer }) => [request, answer]);
    const instead = (name: keyof typeof TYPE): Uint8Array[] =>
      seen.flatMap((octets) => (octets[0] === TYPE[name] ? [] : [octets, disguised(octets, name)]));
    let confused = false;
    const onLink =
      (sent: Uint8Array, request: 'M2' | 'M7', answer: 'M3' | 'M8') =>
      (octets: Uint8Array): Uint8Array | undefined => {
        seen.push(octets);
        // What stands there as M2 or M7 by right is answered.
        const wrong = instead(request).filter(([type]) => type === TYPE[request] || (type !== TYPE.M2 && type !== TYPE.M7));
        confused ||= wrong.some((other) => network.serve(other) !== undefined);
        const asked = network.decide(sent);
        if (asked.kind !== 'forward') return undefined;
        const judge = (other: Uint8Array) => network.respondent().receiveLinkAnswer(asked.transaction, other);
        confused ||= instead(answer).some((other) => judge(other).kind !== 'ignored');
        const right = network.serve(octets)!;
        seen.push(right);
        return right;
      };
    const m1 = node.m1();
    seen.push(m1);
    const m4 = network.ask(m1, { onLink: onLink(m1, 'M2', 'M3') })!;
    confused ||= instead('M4').some((octets) => node.receiveM4(octets) !== undefined);
    seen.push(m4);
    const m5 = node.receiveM4(m4)!;
    confused ||= instead('M5').some((octets) => octets[0] === TYPE.M5 && network.decide(octets).kind === 'forward');
    seen.push(m5);
    const m6 = network.ask(m5, { onLink: onLink(m5, 'M7', 'M8') })!;
    confused ||= instead('M6').some((octets) => node.receiveM6(octets));
    return confused || !node.receiveM6(m6);
  },
};

export const forgedTs: Attack = {
  name: 'lifetime extended by a forged TS or a replay',
  sentence:
    "The draft's TS travels in the clear, and the expiry with it; here TS is sealed, expiry is TS + lifetime of the commit, and no repeat of M7, M8 or M6 moves it.",
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    const m2 = decodeM2(network.controller.receiveM1(victim.m1(), 'victim'));
    network.server.receiveM2(encodeM2({ ...m2, ts: m2.ts + YEAR_MS }));
    return network.server.expiry.get(VICTIM)! > network.server.now + PERIOD_MS;
  },
  profile() {
    const network = new ProfileNetwork();
    const [, commit] = recordJoin(network, VICTIM);
    const expiry = expiryOf(network.registry.get(VICTIM)!);
    // A minute later, the recorded M7 again, and with each of its bits changed in turn.
    network.elapsed = 60_000;
    network.serve(commit!.request);
    for (let bit = 0; bit < 8 * LENGTH.M7; bit++) {
      const altered = Uint8Array.from(commit!.request, (octet, i) => (i === bit >> 3 ? octet ^ (1 << (bit & 7)) : octet));
      if (network.serve(altered) !== undefined) return true;
    }
    return expiryOf(network.registry.get(VICTIM)!) !== expiry;
  },
};

export const otherController: Attack = {
  name: "another controller asks for a node's key",
  sentence:
    "The draft's server gives any controller any node's key; here it answers the one the node is assigned to, by the SK_cs that M2 opens under.",
  draft() {
    const network = new DraftNetwork();
    const ik = randomBytes(16);
    network.install(VICTIM, ik);
    const m3 = network.server.receiveM2(network.other.receiveM1(draftM1(VICTIM, randomBytes(16)), 'attacker'))!;
    return block(D(m3, network.other.skCs), 0).equals(ik);
  },
  profile() {
    const network = new ProfileNetwork();
    const ik = newSecret();
    network.install(VICTIM, ik);
    const skCs = network.skCs.get(OTHER_ID_C)!;
    const body = { rnC: randomBytes(16), ts: BigInt(WALL), m1Octets: encodeM1({ idI: VICTIM, rnI: randomBytes(16) }) };
    // Under its own name, and under the other's.
    return [OTHER_ID_C, ID_C].some((idC) => {
      const m2 = sealM2({ idC, tid: 1n, nonce: randomBytes(13) }, body, skCs);
      const answer = network.serve(m2);
      const m3 = answer && openM3(answer, m2, skCs);
      return m3 !== undefined && octetsOf(m3.key).equals(octetsOf(ik));
    });
  },
};
