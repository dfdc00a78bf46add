/** M1 costs nothing to forge. */

import { randomBytes } from 'node:crypto';
import { encodeM1 } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { DraftNetwork, encodeM1 as draftM1 } from '../draft.js';
import { newSecret, ProfileNetwork, sourceAt } from '../profile.js';

const VICTIM = 0xa1;
const FORGED = 20_000;

export const halfOpen: Attack = {
  name: 'half-open exhaustion',
  sentence:
    'Each forged M1 is a transaction that the draft never ends; here they are bounded in all, per node and per source, live 60 s, and beyond half the bound an address is proven before anything is kept.',
  draft() {
    const network = new DraftNetwork();
    for (let i = 0; i < FORGED; i++) network.controller.receiveM1(draftM1(i, randomBytes(16)), `attacker ${i}`);
    return network.controller.transactions.size >= FORGED;
  },
  profile() {
    const bounds = { total: 1_024, perSource: 256 };
    const network = new ProfileNetwork({ bounds });
    const victim = network.install(VICTIM, newSecret());
    for (let i = 0; i < FORGED; i++)
      network.decide(encodeM1({ idI: 0x1000 + i, rnI: randomBytes(16) }), sourceAt(`attacker ${i % 10_000}`));
    return network.respondent().pendingCount > bounds.total || !network.stillJoins(victim);
  },
};

export const lockOutByForgedM1: Attack = {
  name: "forged M1 with one node's ID keep it out",
  sentence:
    "The first forged M1 takes the draft's node its key; here a node that has a transaction open is asked for proof of its address, which a forger of addresses cannot bring, and a flooder who can pushes out its own.",
  draft() {
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    const flood = (): void => void network.ask(draftM1(VICTIM, randomBytes(16)), 'attacker');
    const m1 = victim.m1();
    flood();
    const m4 = network.ask(m1, 'victim')!;
    return victim.receiveM4(m4) === undefined && network.lockedOut(victim);
  },
  profile() {
    const network = new ProfileNetwork();
    const victim = network.install(VICTIM, newSecret());
    const flood = (): void => {
      for (let i = 0; i < 200; i++) {
        const m1 = encodeM1({ idI: VICTIM, rnI: randomBytes(16) });
        // Addresses the attacker only claims, and one that is its own.
        network.decide(m1, sourceAt(`claimed ${i}`));
        network.ask(m1, { source: sourceAt('attacker', true) });
      }
    };
    flood();
    const m4 = network.ask(victim.m1(), { source: sourceAt('victim', true) });
    const m5 = m4 && victim.receiveM4(m4);
    flood();
    const m6 = m5 && network.ask(m5, { source: sourceAt('victim', true) });
    return m6 === undefined || !victim.receiveM6(m6);
  },
};
