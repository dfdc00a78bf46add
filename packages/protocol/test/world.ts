// One node, two controllers and one auth-server in memory, and a post that keeps every letter:
// whoever drives the world delivers any of them, in any order, as often as it likes. The shells
// here are as thin as can be: store first, then send.

import { TYPE } from '../src/constants.js';
import { tryDecode } from '../src/errors.js';
import { type AwaitingM4, type AwaitingM6, beginAttempt, type NodeState, receiveM4, receiveM6 } from '../src/initiator.js';
import { decodeLinkRequest, decodeM5, type LinkRequest } from '../src/messages.js';
import type { M5Decision } from '../src/decisions.js';
import { Respondent } from '../src/respondent.js';
import { deriveApplicationRoot } from '../src/psk.js';
import { Secret } from '../src/secret.js';
import {
  type ServerDecision,
  decide,
  type ServerNodeRecord,
  type OpenedRequest,
  openLinkRequest,
  sealAnswer,
  isWithinTimeWindow,
} from '../src/server.js';
import type { Transaction } from '../src/open-transaction.js';
import { seededRandomBytes, flipped, hex, secret } from './fixtures.js';

export const CONTROLLERS = [1, 2] as const;
const ID_I = 0xa1b2;
const NODE_NID = new Uint8Array(18).fill(0x0a);
const SK_CS: ReadonlyMap<number, Secret> = new Map(CONTROLLERS.map((idC) => [idC, secret(0xc0 + idC)]));

/** A write that the store has not made yet. */
interface Write {
  readonly request: LinkRequest;
  readonly opened: OpenedRequest;
  readonly decision: Extract<ServerDecision, { kind: 'commit' }>;
}

export type Message =
  | { readonly to: 'node'; readonly octets: Uint8Array }
  | { readonly to: 'controller'; readonly idC: number; readonly octets: Uint8Array; readonly addressValidated: boolean }
  | { readonly to: 'server'; readonly octets: Uint8Array }
  | { readonly to: 'link'; readonly idC: number; readonly tid: bigint; readonly octets: Uint8Array }
  | { readonly to: 'store'; readonly write: Write };

interface Controller {
  readonly respondent: Respondent;
  readonly forwarded: Map<bigint, Transaction>;
}

/** What happened, to see that a run reached what it was meant to reach. */
export type Event = 'stored' | 'promoted' | 'replaced' | 'waited' | 'joined' | 'committed' | 'lost comparison' | 'late write';

function assertHolds(holds: boolean, what: string): void {
  if (!holds) throw new Error(`does not hold: ${what}`);
}

export class World {
  readonly messages: Message[] = [];
  readonly events: Event[] = [];
  node: NodeState;
  record: ServerNodeRecord;
  #now = 1_795_000_000_000;
  #attempt: AwaitingM4 | AwaitingM6 | undefined;
  #waitMs = 0;
  #tid = 0n;
  readonly #randomBytes = seededRandomBytes('world');
  readonly #controllers = new Map<number, Controller>();
  readonly #committed: Secret[] = [];
  readonly #sealed = new Map<string, string>();

  constructor({ lifetime = 3600 }: { readonly lifetime?: number } = {}) {
    const initial = Secret.from(this.#randomBytes(16));
    this.node = { idI: ID_I, controllers: CONTROLLERS, confirmed: Secret.from(initial.expose()), initial: true, candidates: [] };
    this.record = { idI: ID_I, key: initial, initial: true, controller: 1, disabled: false, lifetime, grace: 1e9 };
    for (const idC of CONTROLLERS) this.restartController(idC);
  }

  get waitMs(): number {
    return this.#waitMs;
  }

  tick(ms: number): void {
    this.#now += ms;
  }

  reassign(idC: number): void {
    this.record = { ...this.record, controller: idC };
  }

  restartNode(): void {
    this.#attempt = undefined;
  }

  /** Its transactions are gone; the TIDs it has taken are not. */
  restartController(idC: number): void {
    const takeTid = (): bigint => {
      this.#tid += 1n;
      return this.#tid;
    };
    const bounds = { total: 8, perSource: 8 };
    const respondent = new Respondent({ idC, skCs: SK_CS.get(idC)!, bounds, randomBytes: this.#randomBytes, nextTid: takeTid });
    this.#controllers.set(idC, { respondent, forwarded: new Map() });
  }

  /** The node gives up what it was at and sends a new M1. */
  begin(idC: number): void {
    this.#attempt = beginAttempt(this.node, this.#randomBytes(16), this.#now);
    this.#waitMs = 0;
    this.messages.push({ to: 'controller', idC, octets: this.#attempt.m1, addressValidated: false });
  }

  deliver(message: Message): void {
    switch (message.to) {
      case 'node':
        return this.#atNode(message.octets);
      case 'controller':
        return this.#atController(message.idC, message.octets, message.addressValidated);
      case 'server':
        return this.#atServer(message.octets);
      case 'link':
        return this.#onLink(message.idC, message.tid, message.octets);
      case 'store':
        return this.#atStore(message.write);
    }
  }

  /** With one bit changed. A write under way is the server's own, and no attacker's. */
  deliverTampered(message: Message, bit: number): void {
    if (message.to !== 'store') this.deliver({ ...message, octets: flipped(message.octets, bit % (message.octets.length * 8)) });
  }

  /**
   * Delivers everything from letter `at` on, in order and once, until nobody has anything to say.
   */
  deliverAllFrom(at: number): void {
    for (let next = at; next < this.messages.length; next++) this.deliver(this.messages[next]!);
  }

  /** Invariants 1 and 2. */
  check(): void {
    const held = [this.node.confirmed, ...this.node.candidates.map((candidate) => candidate.psk)];
    assertHolds(
      held.some((key) => key.equals(this.record.key)),
      'invariant 1: the node holds K_i',
    );
    const confirmed = this.node.initial || this.#committed.some((key) => key.equals(this.node.confirmed));
    assertHolds(confirmed, 'invariant 2: the server has committed what the node confirmed');
  }

  #atNode(octets: Uint8Array): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    if (attempt.awaiting === 'M6') {
      const decision = receiveM6(this.node, attempt, octets);
      if (decision.kind === 'joined') this.#store(decision.state, decision.dropped, undefined, 'joined');
      return;
    }
    const decision = receiveM4(this.node, attempt, octets, this.#now);
    if (decision.kind === 'wait') {
      this.#waitMs = decision.forMs;
      this.#attempt = undefined;
      this.events.push('waited');
    }
    if (decision.kind !== 'store') return;
    const event = decision.promoted ? 'promoted' : decision.dropped.length > 0 ? 'replaced' : 'stored';
    this.#store(decision.state, decision.dropped, decision.attempt, event);
    const { idC, tid, m5 } = decision.attempt;
    this.#sealedOnce('node', `15 ${idC} ${tid}`, m5.subarray(9));
    this.messages.push({ to: 'controller', idC, octets: m5, addressValidated: false });
  }

  #store(state: NodeState, dropped: readonly Secret[], attempt: AwaitingM6 | undefined, event: Event): void {
    this.node = state;
    for (const key of dropped) key.wipe();
    this.#attempt = attempt;
    this.events.push(event);
  }

  #atController(idC: number, octets: Uint8Array, addressValidated: boolean): void {
    const { respondent, forwarded } = this.#controllers.get(idC)!;
    const source = { address: 'node', prefix: 'node', nid: NODE_NID, addressValidated };
    const now = { wallMs: this.#now, monotonicMs: this.#now };
    const isM1 = octets[0] === TYPE.M1;
    const decision: M5Decision = isM1 ? respondent.receiveM1(octets, source, now) : respondent.receiveM5(octets, source, now);
    if (decision.kind === 'challenge') this.messages.push({ to: 'controller', idC, octets, addressValidated: true });
    if (decision.kind === 'answer') this.#toNode(idC, isM1 ? undefined : decodeM5(octets).tid, decision.octets);
    if (decision.kind !== 'forward') return;
    const { transaction } = decision;
    forwarded.set(transaction.tid, transaction);
    this.#sealedOnce(`SK ${idC}`, hex(transaction.request!.subarray(13, 26)), transaction.request!.subarray(26));
    this.messages.push({ to: 'server', octets: transaction.request! });
  }

  #onLink(idC: number, tid: bigint, octets: Uint8Array): void {
    const { respondent, forwarded } = this.#controllers.get(idC)!;
    const transaction = forwarded.get(tid);
    const decision = transaction && respondent.receiveLinkAnswer(transaction, octets);
    if (decision?.kind !== 'answer') return;
    if (decision.joined !== undefined) {
      const { idI, applicationRoot } = decision.joined;
      assertHolds(
        this.#committed.some((key) => deriveApplicationRoot(key, idI).equals(applicationRoot)),
        'M8 comes after the commit',
      );
      applicationRoot.wipe();
    }
    this.#toNode(idC, tid, decision.octets);
  }

  #toNode(idC: number, tid: bigint | undefined, octets: Uint8Array): void {
    if (octets[0] === TYPE.M4) this.#sealedOnce('node', hex(octets.subarray(0, 13)), octets.subarray(13));
    else this.#sealedOnce('node', `16 ${idC} ${tid}`, octets.subarray(1));
    this.messages.push({ to: 'node', octets });
  }

  #atServer(octets: Uint8Array): void {
    const request = tryDecode(decodeLinkRequest, octets);
    const skCs = request && SK_CS.get(request.idC);
    if (request === undefined || skCs === undefined) return;
    const opened = openLinkRequest(request, skCs);
    if (opened !== undefined) this.#answer(request, opened);
  }

  #answer(request: LinkRequest, opened: OpenedRequest): void {
    const record = opened.body.m1.idI === this.record.idI ? this.record : undefined;
    const decision = decide(opened, record, this.#now);
    if (decision.kind === 'commit') this.messages.push({ to: 'store', write: { request, opened, decision } });
    else this.#onAnswer(request, opened, decision);
  }

  /** Compare and set; a lost comparison starts again from the read. */
  #atStore({ request, opened, decision }: Write): void {
    const { from, to, commit } = decision;
    if (!isWithinTimeWindow(opened, this.#now)) {
      this.events.push('late write');
      return this.#onAnswer(request, opened, { kind: 'refuse', refusal: 'clock' });
    }
    if (!this.record.key.equals(from)) {
      this.events.push('lost comparison');
      return this.#answer(request, opened);
    }
    this.record = { ...this.record, key: to, initial: false, committed: commit };
    this.#committed.push(to);
    this.events.push('committed');
    this.#onAnswer(request, opened, { kind: 'answer', with: 'M8', lifetime: commit.lifetime });
  }

  #onAnswer(request: LinkRequest, opened: OpenedRequest, decision: Exclude<ServerDecision, { kind: 'commit' }>): void {
    const { idC, tid } = request;
    const octets = sealAnswer(request, opened, decision, this.#randomBytes(13), SK_CS.get(idC)!);
    this.#sealedOnce(`SK ${idC}`, hex(octets.subarray(1, 14)), octets.subarray(14));
    this.messages.push({ to: 'link', idC, tid, octets });
  }

  /**
   * Invariant 3: CCM is deterministic, so one (key, nonce) pair seals one text if and only if it
   * gives one ciphertext and tag. The nonces under node keys are held to more: no two of a world
   * are the same, whatever the key.
   */
  #sealedOnce(key: string, nonce: string, sealed: Uint8Array): void {
    const use = `${key}, nonce ${nonce}`;
    const before = this.#sealed.get(use) ?? hex(sealed);
    assertHolds(hex(sealed) === before, `invariant 3: one text only under ${use}`);
    this.#sealed.set(use, before);
  }
}
