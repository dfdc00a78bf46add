/** A challenge sent back to whoever posed it. */

import { randomBytes } from 'node:crypto';
import { decodeM4, encodeM1, encodeM5, LENGTH } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { block, decodeM2, DraftNetwork, encodeM1 as draftM1 } from '../draft.js';
import { newSecret, ProfileNetwork, recordingGenerator, sourceAt } from '../profile.js';

const VICTIM = 0xa1;
const C5_LENGTH = 24;

export const reflection: Attack = {
  name: 'reflection',
  sentence:
    'RN_c sent back as RN_i of a second M1 makes the controller itself compute the M5 it is waiting for, and verify a node that is not there; here M4 and M5 have keys, nonces and types of their own.',
  draft() {
    const network = new DraftNetwork();
    network.install(VICTIM, randomBytes(16));
    const m2 = network.controller.receiveM1(draftM1(VICTIM, randomBytes(16)), 'first');
    network.controller.receiveM3(network.server.receiveM2(m2)!, 'first');
    // The server holds the PSK of the first by now: the second M4 is under it.
    const m4 = network.ask(draftM1(VICTIM, decodeM2(m2).rnC), 'second')!;
    return network.controller.receiveM5(block(m4.subarray(4), 0), 'first');
  },
  profile() {
    const { recorded, randomOctets } = recordingGenerator();
    const network = new ProfileNetwork({ randomOctets });
    network.install(VICTIM, newSecret());
    const first = network.ask(encodeM1({ idI: VICTIM, rnI: randomBytes(16) }))!;
    const { tid } = decodeM4(first);
    const second = network.ask(encodeM1({ idI: VICTIM, rnI: recorded[0]! }), { source: sourceAt('second') })!;
    // Every run of octets that might pass for C5, from the second M4 and from the first itself.
    for (const m4 of [first, second]) {
      for (let at = 0; at + C5_LENGTH <= LENGTH.M4; at++) {
        const m5 = encodeM5({ tid, c5: m4.subarray(at, at + C5_LENGTH) });
        // From a source of its own each, so that none is refused for the number alone.
        if (network.decide(m5, sourceAt(`reflecting ${at}`)).kind === 'forward') return true;
      }
    }
    return false;
  },
};
