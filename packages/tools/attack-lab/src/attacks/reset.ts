/**
 * Attacks on a node that was reset to its former initial key, by an attacker who recorded its
 * joins.
 */

import { randomBytes } from 'node:crypto';
import type { Attack } from '../attack.js';
import { DraftNetwork } from '../draft.js';
import { newSecret, ProfileNetwork, type ProfileNode } from '../profile.js';

const VICTIM = 0xa1;
/** An M7 that was recorded is within its window this long after the reset, in ms. */
const AFTER = [0, 1_000, 30_000, 36_000, 80_000];

export const recordedCommit: Attack = {
  name: 'recorded commit sent again after a reset to the same initial key',
  sentence:
    'Whoever has recorded M2 on the link makes the server derive the old key again, which the device has lost; here an M7 whose TS is not 35 s past the reset is refused, kept back or recorded, and the node joins after that.',
  draft() {
    const network = new DraftNetwork();
    const ik = randomBytes(16);
    const before = network.install(VICTIM, ik);
    const m2 = network.controller.receiveM1(before.m1(), 'victim');
    const m3 = network.server.receiveM2(m2);
    const m4 = m3 && network.controller.receiveM3(m3, 'victim');
    if (m4 === undefined || before.receiveM4(m4) === undefined) return false;
    const victim = network.install(VICTIM, ik);
    network.server.receiveM2(m2);
    return network.join(victim, 'victim') === undefined && network.lockedOut(victim);
  },
  profile() {
    return [true, false].some((delivered) =>
      AFTER.some((after) => {
        const network = new ProfileNetwork();
        const ik = newSecret();
        const recorded = proves(network, network.install(VICTIM, ik), delivered);
        network.elapsed += 1_000;
        const victim = network.reset(VICTIM, ik);
        network.elapsed += after;
        network.serve(recorded);
        if (network.lockedOut(victim)) return true;
        network.elapsed += 36_000;
        return !network.stillJoins(victim);
      }),
    );
  },
};

/** The M7 of the node, which the server gets or not. */
function proves(network: ProfileNetwork, node: ProfileNode, delivered: boolean): Uint8Array {
  let recorded: Uint8Array | undefined;
  const m4 = network.ask(node.m1());
  const m5 = m4 && node.receiveM4(m4);
  const onLink = (m7: Uint8Array): Uint8Array | undefined => {
    recorded = m7;
    return delivered ? network.serve(m7) : undefined;
  };
  const m6 = m5 && network.ask(m5, { onLink });
  if (recorded === undefined || (m6 !== undefined && node.receiveM6(m6)) !== delivered)
    throw new Error('the node did not prove itself');
  return recorded;
}
