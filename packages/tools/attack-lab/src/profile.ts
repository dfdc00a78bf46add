/**
 * The profile by the real roles of @latchkey/protocol, honestly driven in memory: nodes,
 * controllers, the auth-server. An attack stands between any two of them.
 */

import { randomBytes } from 'node:crypto';
import {
  answerCommitted,
  type AwaitingM4,
  type AwaitingM6,
  beginAttempt,
  decodeLinkRequest,
  tryDecode,
  decide,
  type ServerDecision,
  type M5Decision,
  type ServerNodeRecord,
  type NodeState,
  type OpenedRequest,
  openLinkRequest,
  receiveM4,
  receiveM6,
  Respondent,
  type RespondentBounds,
  sealAnswer,
  Secret,
  type Source,
  isWithinTimeWindow,
  TYPE,
  RN_LENGTH,
} from '@latchkey/protocol';

export const WALL = 1_795_000_000_000;
const LIFETIME = 3_600;
/** The controllers of every network here. */
export const ID_C = 1;
export const OTHER_ID_C = 2;

/** Key octets for an attacker who has them legitimately, for example an installer or an owner. */
export function octetsOf(key: Secret): Buffer {
  return Buffer.from(key.expose());
}

export function newSecret(): Secret {
  return Secret.from(randomBytes(16));
}

export function sourceAt(address: string, proven = false): Source {
  return { address, prefix: address, nid: Buffer.alloc(18, address), addressValidated: proven };
}

/** A node, whose keys are written as they would be to the disk: before anything goes out. */
export class ProfileNode {
  state: NodeState;
  /** Powered time, ms. */
  powered = 0;
  #attempt: AwaitingM4 | AwaitingM6 | undefined;

  constructor(idI: number, ik: Secret, controllers: readonly number[] = [ID_C]) {
    this.state = { idI, controllers, confirmed: Secret.from(ik.expose()), initial: true, candidates: [] };
  }

  m1(rnI: Uint8Array = randomBytes(16)): Uint8Array {
    this.#attempt = beginAttempt(this.state, rnI, this.powered);
    return this.#attempt.m1;
  }

  /** Gives M5; `undefined`: this is no M4 for the node. */
  receiveM4(octets: Uint8Array): Uint8Array | undefined {
    if (this.#attempt?.awaiting !== 'M4') return undefined;
    const decision = receiveM4(this.state, this.#attempt, octets, this.powered);
    if (decision.kind !== 'store') return undefined;
    this.state = decision.state;
    this.#attempt = decision.attempt;
    return decision.m5;
  }

  /** Whether the node has joined by this. */
  receiveM6(octets: Uint8Array): boolean {
    if (this.#attempt?.awaiting !== 'M6') return false;
    const decision = receiveM6(this.state, this.#attempt, octets);
    if (decision.kind !== 'joined') return false;
    this.state = decision.state;
    this.#attempt = undefined;
    return true;
  }

  get keys(): readonly Secret[] {
    return [this.state.confirmed, ...this.state.candidates.map(({ psk }) => psk)];
  }
}

export interface ProfileOptions {
  readonly bounds?: RespondentBounds;
  /**
   * Random source of controllers and server; a resumed snapshot generates the same octets twice.
   */
  readonly randomOctets?: (n: number) => Uint8Array;
  /** Controllers are pass-through. */
  readonly passThrough?: true;
  /** The controllers' first TID. */
  readonly firstTid?: bigint;
}

/**
 * The system's generator, and what it drew for the random numbers of the controller: an attacker
 * may be given it.
 */
export function recordingGenerator(): { readonly recorded: Uint8Array[]; readonly randomOctets: (n: number) => Uint8Array } {
  const drawn: Uint8Array[] = [];
  const draw = (n: number): Uint8Array => {
    const octets = randomBytes(n);
    if (n === RN_LENGTH) drawn.push(octets);
    return octets;
  };
  return { recorded: drawn, randomOctets: draw };
}

export class ProfileNetwork {
  readonly registry: Map<number, ServerNodeRecord> = new Map();
  readonly skCs: ReadonlyMap<number, Secret> = new Map([ID_C, OTHER_ID_C].map((idC) => [idC, newSecret()]));
  readonly #options: ProfileOptions;
  readonly #respondents = new Map<number, Respondent>();
  readonly #transactionKey = newSecret();
  /** ms since `WALL`. */
  elapsed = 0;

  constructor(options: ProfileOptions = {}) {
    this.#options = options;
    this.restart(options.firstTid ?? 1n);
  }

  /** Controllers start anew, with their transactions gone. */
  restart(firstTid: bigint): void {
    const { bounds = { total: 1_024, perSource: 256 }, randomOctets = randomBytes } = this.#options;
    for (const [idC, skCs] of this.skCs) {
      let next = firstTid;
      this.#respondents.set(idC, new Respondent({ idC, skCs, bounds, randomBytes: randomOctets, nextTid: () => next++ }));
    }
  }

  respondent(idC: number = ID_C): Respondent {
    return this.#respondents.get(idC)!;
  }

  /** A node assigned to controller 1. */
  install(idI: number, ik: Secret): ProfileNode {
    const record: ServerNodeRecord = {
      idI,
      key: ik,
      initial: true,
      controller: ID_C,
      disabled: false,
      lifetime: LIFETIME,
      grace: 60,
      passThrough: this.#options.passThrough === true ? { transactionKey: this.#transactionKey } : undefined,
    };
    this.registry.set(idI, record);
    return new ProfileNode(idI, ik);
  }

  /**
   * A node that lost its state is put back to an initial key it had before, on the device and in
   * the registry.
   */
  reset(idI: number, ik: Secret): ProfileNode {
    const node = this.install(idI, ik);
    this.registry.set(idI, { ...this.registry.get(idI)!, reissuedAt: WALL + this.elapsed });
    return node;
  }

  /** What the auth-server answers to M2 or M7; `undefined`: nothing that opens. */
  serve(octets: Uint8Array): Uint8Array | undefined {
    const request = tryDecode(decodeLinkRequest, octets);
    const skCs = request && this.skCs.get(request.idC);
    const opened = skCs && openLinkRequest(request, skCs);
    if (request === undefined || skCs === undefined || opened === undefined) return undefined;
    const record = this.registry.get(opened.body.m1.idI);
    const decision = decide(opened, record, WALL + this.elapsed);
    const draw = this.#options.randomOctets ?? randomBytes;
    return sealAnswer(request, opened, this.#commit(opened, decision), draw(13), skCs);
  }

  /** Here the write is done at once, so that no comparison is lost. */
  #commit(opened: OpenedRequest, decision: ServerDecision): Exclude<ServerDecision, { kind: 'commit' }> {
    if (decision.kind !== 'commit') return decision;
    const { to, commit } = decision;
    const record = [...this.registry.values()].find(({ key }) => key === decision.from);
    if (record === undefined || !isWithinTimeWindow(opened, WALL + this.elapsed)) return { kind: 'refuse', refusal: 'clock' };
    this.registry.set(record.idI, { ...record, key: to, initial: false, committed: commit });
    return answerCommitted(opened, decision);
  }

  /** What the controller decides on M1 or M5, before it asks anybody. */
  decide(octets: Uint8Array, source: Source = sourceAt('node'), idC: number = ID_C): M5Decision {
    const now = { wallMs: WALL + this.elapsed, monotonicMs: this.elapsed };
    const respondent = this.respondent(idC);
    return octets[0] === TYPE.M5 ? respondent.receiveM5(octets, source, now) : respondent.receiveM1(octets, source, now);
  }

  /**
   * Returns the controller's answer to M1 or M5, after its request to the server; `undefined` if it
   * rejects the message. `onLink` may replace M3 and M8.
   */
  ask(
    octets: Uint8Array,
    {
      source = sourceAt('node'),
      idC = ID_C,
      onLink = (request: Uint8Array): Uint8Array | undefined => this.serve(request),
    }: {
      readonly source?: Source;
      readonly idC?: number;
      readonly onLink?: (request: Uint8Array) => Uint8Array | undefined;
    } = {},
  ): Uint8Array | undefined {
    const decision = this.decide(octets, source, idC);
    // When challenged, an honest node proves that it receives datagrams at its address.
    if (decision.kind === 'challenge' && !source.addressValidated)
      return this.ask(octets, { source: { ...source, addressValidated: true }, idC, onLink });
    if (decision.kind === 'answer') return decision.octets;
    if (decision.kind !== 'forward') return undefined;
    const answer = onLink(decision.transaction.request!);
    const judged = answer && this.respondent(idC).receiveLinkAnswer(decision.transaction, answer);
    return judged?.kind === 'answer' ? judged.octets : undefined;
  }

  /**
   * Runs a whole exchange without interference. Returns the messages, or `undefined` if the node
   * did not join.
   */
  join(
    node: ProfileNode,
    source: Source = sourceAt('node'),
  ): Readonly<Record<'m1' | 'm4' | 'm5' | 'm6', Uint8Array>> | undefined {
    const m1 = node.m1();
    const m4 = this.ask(m1, { source });
    const m5 = m4 && node.receiveM4(m4);
    const m6 = m5 && this.ask(m5, { source });
    return m4 && m5 && m6 && node.receiveM6(m6) ? { m1, m4, m5, m6 } : undefined;
  }

  keyOf(node: ProfileNode): Secret {
    return this.registry.get(node.state.idI)!.key;
  }

  /** The server's key is none of the node's: no exchange can ever succeed again. */
  lockedOut(node: ProfileNode): boolean {
    return !node.keys.some((key) => key.equals(this.keyOf(node)));
  }

  /**
   * Node and server agree on a key that is not the initial one, once nobody interferes any more.
   */
  stillJoins(node: ProfileNode): boolean {
    // Rule 6: until it has joined, it tries again. Two attempts are what a network without faults
    // may cost it.
    return (this.join(node) ?? this.join(node)) !== undefined && node.state.confirmed.equals(this.keyOf(node));
  }
}
