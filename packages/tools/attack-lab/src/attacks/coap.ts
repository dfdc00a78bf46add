/** Below the protocol: datagrams with somebody else's address in them. */

import { randomBytes } from 'node:crypto';
import { encodeM1 } from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { empty, get, headerOf, MESSAGE_TYPE, ping, post, response } from '../datagram.js';
import { DraftExchange } from '../draft-exchange.js';
import { DraftNetwork } from '../draft.js';
import { attemptOver, listen, MitmRelay, sendUnvalidated } from '../man-in-the-middle.js';
import { newSecret, ProfileNetwork } from '../profile.js';

const VICTIM = 0xa1;
const EMPTY = Buffer.alloc(0);
const [CHANGED, FORBIDDEN] = [0x44, 0x83];
const MESSAGE_IDS = 65_536;
/** For an exchange that is meant to come to its deadline. */
const SHORT_DEADLINE_MS = 200;

/**
 * The draft's node sends M1, then these datagrams arrive, then M4. Whether it ends with a key that
 * the server does not have.
 */
function lockedOutBy(forged: (exchange: DraftExchange) => Iterable<Buffer>): boolean {
  const network = new DraftNetwork();
  const victim = network.install(VICTIM, randomBytes(16));
  const exchange = new DraftExchange();
  const m4 = network.ask(victim.m1(), 'victim')!;
  for (const octets of forged(exchange)) exchange.receive(octets);
  exchange.receive(response('ACK', CHANGED, exchange.request, m4));
  const m5 = exchange.payload && victim.receiveM4(exchange.payload);
  return (m5 === undefined || !network.controller.receiveM5(m5, 'victim')) && network.lockedOut(victim);
}

/**
 * Latchkey's node joins through Latchkey's controller over a path on which `forge` adds datagrams
 * to each request of the first attempt. Whether the node ends locked out or cannot join any more.
 */
async function harmedBy(
  intercept: (request: Buffer, relay: MitmRelay) => 'pass' | 'stop',
  deadlineMs?: number,
): Promise<boolean> {
  const network = new ProfileNetwork();
  const victim = network.install(VICTIM, newSecret());
  const server = await listen(network);
  let forging = true;
  const path = await MitmRelay.open(server.address, (request, on) => (forging ? intercept(request, on) : 'pass'));
  try {
    await attemptOver(path.endpoint, victim, deadlineMs);
    if (network.lockedOut(victim)) return true;
    forging = false;
    const joins = await attemptOver(path.endpoint, victim);
    return !joins || !victim.state.confirmed.equals(network.keyOf(victim));
  } finally {
    path.close();
    await server.stop();
  }
}

export const offPath: Attack = {
  name: 'forged ACK, RST and responses off path',
  sentence:
    "65,536 Resets end the draft's exchange after the server has replaced the key; here a token of 4 octets and a port stand before the node, no ACK ends the deadline, one Reset ends nothing, and no datagram changes a key.",
  draft() {
    // An ACK for every message ID: M1, if it was lost, is not sent again, and nothing ever ends the
    // wait.
    const silenced = new DraftExchange();
    for (let id = 0; id < MESSAGE_IDS; id++) silenced.receive(empty('ACK', id));
    const reset = lockedOutBy(function* () {
      for (let id = 0; id < MESSAGE_IDS; id++) yield empty('RST', id);
    });
    return !silenced.retransmits && reset;
  },
  async profile() {
    // Luckier than any off path: each forgery has the right message ID at once, and the token alone
    // is guessed.
    const lucky = await harmedBy((request, path) => {
      const { messageId } = headerOf(request);
      path.toNode(empty('ACK', messageId));
      path.toNode(empty('RST', messageId));
      for (let i = 0; i < 100; i++) {
        path.toNode(response('ACK', CHANGED, { messageId, token: randomBytes(4) }, randomBytes(53)));
        path.toNode(response('NON', FORBIDDEN, { messageId: i, token: EMPTY }, EMPTY));
      }
      return 'pass';
    });
    // Acknowledged, and lost: the deadline ends that.
    const silenced = await harmedBy((request, path) => {
      path.toNode(empty('ACK', headerOf(request).messageId));
      return 'stop';
    }, SHORT_DEADLINE_MS);
    // Two Resets do end the exchange: the next one is none the worse.
    const reset = await harmedBy((request, path) => {
      const { messageId } = headerOf(request);
      path.toNode(empty('RST', messageId));
      path.toNode(empty('RST', messageId));
      return 'pass';
    });
    return lucky || silenced || reset;
  },
};

export const forgedRefusal: Attack = {
  name: 'forged refusals and answers on the path',
  sentence:
    "One forged 4.03 is the answer to the draft's M1, M4 comes too late, and the key is gone; here an error changes when the node tries again, never what keys it holds or falls back to.",
  draft() {
    return lockedOutBy(function* (exchange) {
      yield response('NON', FORBIDDEN, { messageId: 0, token: exchange.token }, EMPTY);
    });
  },
  async profile() {
    const refuse = (request: Buffer, path: MitmRelay): 'pass' => {
      path.toNode(response('ACK', FORBIDDEN, headerOf(request), EMPTY));
      return 'pass';
    };
    // Answers M5 only: with a bare 2.04, with an invalid M6, or not at all. The server commits in
    // each case.
    const toM5 =
      (forge: (request: Buffer, path: MitmRelay) => void) =>
      (request: Buffer, path: MitmRelay): 'pass' => {
        if (request.includes(Buffer.of(0xff, 0x15))) forge(request, path);
        return 'pass';
      };
    const bare = toM5((request, path) => path.toNode(response('ACK', CHANGED, headerOf(request), EMPTY)));
    const wrong = toM5((request, path) => {
      for (let i = 0; i < 16; i++)
        path.toNode(response('ACK', CHANGED, headerOf(request), Buffer.concat([Buffer.of(0x16), randomBytes(12)])));
    });
    return (await harmedBy(refuse)) || (await harmedBy(bare)) || (await harmedBy(wrong));
  },
};

export const amplification: Attack = {
  name: 'amplification',
  sentence:
    'M4 as a confirmable response is sent five times to an address that never asked; here answers to unproven sources are piggybacked, at most 3 times the request, and never repeated.',
  draft() {
    // The controller asks the server first, so its response is a separate one (RFC 7252 section
    // 5.2.2): empty ACK, then CON, which nobody acknowledges: 1 + MAX_RETRANSMIT (4) times.
    const network = new DraftNetwork();
    const victim = network.install(VICTIM, randomBytes(16));
    const m1 = victim.m1();
    const request = post(m1);
    const m4 = response('CON', CHANGED, headerOf(request), network.ask(m1, 'victim')!);
    return empty('ACK', 0).length + 5 * m4.length > 3 * request.length;
  },
  async profile() {
    const network = new ProfileNetwork();
    network.install(VICTIM, newSecret());
    const server = await listen(network);
    const m1 = (): Uint8Array => encodeM1({ idI: VICTIM, rnI: randomBytes(16) });
    // M4, Echo, 4.04, 4.00, 4.05, links, 4.04, a Reset.
    const requests = [
      post(m1()),
      post(m1()),
      post(Buffer.concat([Buffer.of(0x15), randomBytes(32)])),
      post(Buffer.of(0x11)),
      get('k'),
      get('.well-known', 'core'),
      get('x'),
      ping(),
    ];
    try {
      const answers = await sendUnvalidated(server.address, requests);
      return answers.some((answer, i) => {
        if (answer === undefined) throw new Error(`request ${i} got no answer`);
        const times = headerOf(answer).type === MESSAGE_TYPE.CON ? 5 : 1;
        return answer.length * times > 3 * requests[i]!.length || answer.length > 136;
      });
    } finally {
      await server.stop();
    }
  },
};
