/** Servers and controllers that break one rule of pass-through transactions each. */

import {
  answerCommitted,
  decide,
  decodeM5,
  derivePassThroughRnC,
  derivePsk,
  encodeM5,
  equalInConstantTime,
  type LinkDecision,
  type M5Decision,
  type Clocks,
  type OpenedRequest,
  REISSUE_HOLDOFF_MS,
  Respondent,
  RN_LENGTH,
  Secret,
  sealM4,
  sealM5,
  sealM6,
  type ServerAnswer,
  type ServerDecision,
  type ServerNodeRecord,
  type Source,
  type Transaction,
  tryDecode,
} from '@latchkey/protocol';
import type { Registry, UnsealedNode } from '@latchkey/registry';
import { PROFILE, type Rules } from '../rules.js';
import { SimulatedServer } from '../server.js';

const M4_HEADER_LENGTH = 13;
const M6_HEADER_LENGTH = 1;

function withServerRules(server: Partial<Rules['roles']['server']>): Rules {
  const { roles } = PROFILE;
  return { ...PROFILE, roles: { ...roles, server: { ...roles.server, ...server } } };
}

type Use = 'C4' | 'C5' | 'PSK';
type Contribute = (use: Use, transactionKey: Secret, opened: OpenedRequest) => Uint8Array;

/** A server whose RN_c' is another one, at each of the places where it stands. */
function withRnC(contribute: Contribute): Rules {
  return withServerRules({
    decide: (opened, node, wall): ServerDecision => {
      const decision = decide(opened, node, wall);
      if (node?.passThrough === undefined) return decision;
      const { transactionKey } = node.passThrough;
      const rnC = (use: Use): Uint8Array => contribute(use, transactionKey, opened);
      if (decision.kind === 'answer' && decision.with === 'M10') {
        const { m1, m1Octets } = opened.body;
        const m4 = sealM4(opened, { rnI: m1.rnI, rnC: rnC('C4') }, node.key, m1Octets);
        return { ...decision, c4: m4.subarray(M4_HEADER_LENGTH) };
      }
      return opened.type === 'M7' && isAboutProof(decision) ? judgeProof(opened, node, rnC) : decision;
    },
  });
}

/** Whether all that comes before the proof was right. */
function isAboutProof(decision: ServerDecision): boolean {
  if (decision.kind !== 'refuse') return true;
  return decision.refusal === 'proofFailed' || decision.holdoff !== undefined || decision.switchedAt !== undefined;
}

function judgeProof(
  opened: Extract<OpenedRequest, { type: 'M7' }>,
  node: ServerNodeRecord,
  rnC: (use: Use) => Uint8Array,
): ServerDecision {
  const { idC, tid, body } = opened;
  const isProvenBy = (psk: Secret): boolean => {
    const m5 = sealM5({ idC, tid, m1Octets: body.m1Octets }, rnC('C5'), psk);
    return equalInConstantTime(m5, encodeM5({ tid, c5: body.c5 }));
  };
  const { committed, key } = node;
  if (committed?.idC === idC && committed.tid === tid && isProvenBy(key))
    return answerCommitted(opened, { kind: 'commit', with: 'M11', from: key, to: key, commit: committed });
  const psk = derivePsk(key, body.m1.rnI, rnC('PSK'));
  if (!isProvenBy(psk)) return { kind: 'refuse', refusal: 'proofFailed' };
  const ts = Number(body.ts);
  if (node.reissuedAt !== undefined && ts <= node.reissuedAt + REISSUE_HOLDOFF_MS)
    return { kind: 'refuse', refusal: 'overloaded' };
  const commit = { idC, tid, ts, nidI: body.nidI, lifetime: node.lifetime };
  return { kind: 'commit', with: 'M11', from: key, to: psk, commit };
}

/** The controller's RN_c stands where RN_c' belongs. */
function withRawRnC(...places: readonly Use[]): Rules {
  return withRnC((use, transactionKey, opened) =>
    places.includes(use) ? opened.body.rnC : derivePassThroughRnC(transactionKey, opened),
  );
}

/** RN_c' does not depend on one of the things that it should. */
function withoutInRnC(leaveOut: (opened: OpenedRequest) => Parameters<typeof derivePassThroughRnC>[1]): Rules {
  return withRnC((_, transactionKey, opened) => derivePassThroughRnC(transactionKey, leaveOut(opened)));
}

/** K_i stands in M10 where C4 belongs. */
const givesKeyInM10: Rules = withServerRules({
  decide: (opened, node, wall): ServerDecision => {
    const decision = decide(opened, node, wall);
    if (decision.kind !== 'answer' || decision.with !== 'M10' || node === undefined) return decision;
    const c4 = Uint8Array.from(decision.c4);
    c4.set(node.key.expose());
    return { ...decision, c4 };
  },
});

/** The mode of a controller is read apart from K_i, from a copy that is minutes old. */
class ReadsModeApart extends SimulatedServer {
  readonly #modes = new Map<number, { readonly passThrough: ServerNodeRecord['passThrough']; readonly at: number }>();

  protected override prepare(registry: Registry): void {
    const read = registry.readNode.bind(registry);
    registry.readNode = async (idI): Promise<UnsealedNode | undefined> => {
      const node = await read(idI);
      return node && { ...node, passThrough: this.#modeOf(node) };
    };
    super.prepare(registry);
  }

  #modeOf({ controller, passThrough }: UnsealedNode): ServerNodeRecord['passThrough'] {
    const { now } = this.context.simulation;
    const copy = this.#modes.get(controller);
    if (copy !== undefined && now - copy.at < 600_000) return copy.passThrough;
    // The registry wipes its own when it is closed.
    const kept = passThrough && { transactionKey: passThrough.transactionKey.copy() };
    this.#modes.set(controller, { passThrough: kept, at: now });
    return kept;
  }
}

/** What an M2 gets does not depend on the mode. */
const answersM3: Rules = withServerRules({
  decide: (opened, node, wall) => decide(opened, node && opened.type === 'M2' ? { ...node, passThrough: undefined } : node, wall),
});

/** What an M7 gets does not depend on the mode; its proof is judged by it. */
const answersM8: Rules = withServerRules({
  decide: (opened, node, wall): ServerDecision => {
    const decision = decide(opened, node, wall);
    if (decision.kind === 'answer' && decision.with === 'M11') return { kind: 'answer', with: 'M8', lifetime: decision.lifetime };
    return decision.kind === 'commit' ? { ...decision, with: 'M8' } : decision;
  },
});

/** An M11 is changed before it is sealed; `psk` is the key that was proven. */
function withM11(
  change: (answer: Extract<ServerAnswer, { with: 'M11' }>, opened: OpenedRequest, psk: Secret, before: Secret) => ServerAnswer,
): Rules {
  return withServerRules({
    answerCommitted: (opened, decision) => {
      const answer = answerCommitted(opened, decision);
      return answer.with === 'M11' ? change(answer, opened, decision.to, decision.from) : answer;
    },
    decide: (opened, node, wall): ServerDecision => {
      const decision = decide(opened, node, wall);
      if (decision.kind !== 'answer' || decision.with !== 'M11' || node === undefined) return decision;
      return change(decision, opened, node.key, node.key);
    },
  });
}

/** C6 confirms an M5 that nobody has proven. */
const confirmsAnotherM5: Rules = withM11((answer, { idC, tid }, psk) => {
  const m6 = sealM6({ idC, tid }, { lifetime: answer.lifetime }, psk, encodeM5({ tid, c5: new Uint8Array(24) }));
  return { ...answer, c6: m6.subarray(M6_HEADER_LENGTH) };
});

const givesFormerRoot: Rules = withServerRules({
  answerCommitted: (opened, decision) => {
    const answer = answerCommitted(opened, decision);
    const former = answerCommitted(opened, { ...decision, to: decision.from });
    return answer.with === 'M11' && former.with === 'M11' ? { ...answer, applicationRoot: former.applicationRoot } : answer;
  },
});

/**
 * AR_i is one block of the PSK's own cipher: with RN_i XOR RN_c the constant, it is the next PSK.
 */
const makesRootOfOneBlock: Rules = withM11((answer, _, psk) => {
  const constant = new Uint8Array(16);
  constant.set(new TextEncoder().encode('application root'));
  return { ...answer, applicationRoot: Secret.from(psk.cipher.encrypt(constant)) };
});

/** A wrong M5 ends the transaction, as the draft's way has it. */
class DropsOnWrongM5 extends Respondent {
  readonly #dropped = new Set<bigint>();

  override receiveM5(octets: Uint8Array, source: Source, now: Clocks): M5Decision {
    const tid = tryDecode(decodeM5, octets)?.tid;
    if (tid !== undefined && this.#dropped.has(tid)) return { kind: 'refuse', refusal: 'noTransaction' };
    return super.receiveM5(octets, source, now);
  }

  override receiveLinkAnswer(transaction: Transaction, octets: Uint8Array): LinkDecision {
    if (this.#dropped.has(transaction.tid)) return { kind: 'unknown-transaction' };
    const decision = super.receiveLinkAnswer(transaction, octets);
    if (decision.kind === 'refuse' && decision.refusal === 'proofFailed') this.#dropped.add(transaction.tid);
    return decision;
  }
}

/** One M5 of a transaction is relayed, whoever sends it first. */
class HasOnePlace extends Respondent {
  readonly #first = new Map<bigint, Uint8Array>();

  override receiveM5(octets: Uint8Array, source: Source, now: Clocks): M5Decision {
    const tid = tryDecode(decodeM5, octets)?.tid;
    const first = tid === undefined ? undefined : this.#first.get(tid);
    if (first !== undefined && !equalInConstantTime(first, octets)) return { kind: 'refuse', refusal: 'rateLimited' };
    const decision = super.receiveM5(octets, source, now);
    if (tid !== undefined && decision.kind === 'relay') this.#first.set(tid, Uint8Array.from(octets));
    return decision;
  }
}

function withRespondent(role: Rules['roles']['respondent']): Rules {
  return { ...PROFILE, roles: { ...PROFILE.roles, respondent: role } };
}

export const PASS_THROUGH_MUTANTS: readonly { readonly name: string; readonly rules: Rules }[] = [
  { name: "RN_c where RN_c' belongs in C4", rules: withRawRnC('C4') },
  { name: "RN_c where RN_c' belongs in the check of C5", rules: withRawRnC('C5') },
  { name: "RN_c where RN_c' belongs in the PSK", rules: withRawRnC('PSK') },
  { name: "RN_c everywhere in place of RN_c'", rules: withRawRnC('C4', 'C5', 'PSK') },
  { name: "RN_c' without TS", rules: withoutInRnC((opened) => ({ ...opened, body: { ...opened.body, ts: 0n } })) },
  { name: "RN_c' without TID", rules: withoutInRnC((opened) => ({ ...opened, tid: 0n })) },
  {
    name: "RN_c' without M1",
    rules: withoutInRnC((opened) => ({ ...opened, body: { ...opened.body, m1Octets: new Uint8Array(21) } })),
  },
  {
    name: "RN_c' without the controller's RN_c",
    rules: withoutInRnC((opened) => ({ ...opened, body: { ...opened.body, rnC: new Uint8Array(RN_LENGTH) } })),
  },
  { name: 'M10 with K_i', rules: givesKeyInM10 },
  { name: 'mode of the controller read apart from K_i', rules: { ...PROFILE, Server: ReadsModeApart } },
  { name: 'M3 for a pass-through controller', rules: answersM3 },
  { name: 'M8 for a pass-through controller', rules: answersM8 },
  { name: 'C6 over another M5 than the one proven', rules: confirmsAnotherM5 },
  { name: 'AR_i of the key before the commit', rules: givesFormerRoot },
  { name: "AR_i as a block of the PSK's cipher", rules: makesRootOfOneBlock },
  { name: 'a wrong M5 drops the pass-through transaction', rules: withRespondent((options) => new DropsOnWrongM5(options)) },
  { name: 'a wrong M5 of one network starves the others', rules: withRespondent((options) => new HasOnePlace(options)) },
];
