/** Auth-servers that break one rule of the profile each. */

import {
  derivePsk,
  decide,
  type ServerDecision,
  type LinkRequest,
  type ServerNodeRecord,
  type OpenedRequest,
  REFUSALS,
  REISSUE_HOLDOFF_MS,
  sealAnswer,
  sealM3,
  sealM8,
  sealM9,
  Secret,
  type ClockHistory,
} from '@latchkey/protocol';

import { ClockStepDetector } from '@latchkey/runtime/daemon';
import { Administrator } from '../administrator.js';
import { keyOctets, keyText } from '../key-text.js';
import { PROFILE, type Rules } from '../rules.js';
import { type FinalDecision, type ServerAnswer, SimulatedServer } from '../server.js';
import { type WriteAction, commitAction, type CommitResult, type JudgedCommit, type RegistryRow } from '../store.js';

function withServer(Server: typeof SimulatedServer): Rules {
  return { ...PROFILE, Server };
}

function withDecide(judge: Rules['roles']['server']['decide']): Rules {
  return { ...PROFILE, roles: { ...PROFILE.roles, server: { ...PROFILE.roles.server, decide: judge } } };
}

/** The draft read literally: the key is replaced on M2, which no node has authenticated. */
class CommitsOnM2 extends SimulatedServer {
  protected override seal(request: LinkRequest, opened: OpenedRequest, decision: FinalDecision, skCs: Secret): ServerAnswer {
    const answer = super.seal(request, opened, decision, skCs);
    const { rnC, m1, ts } = opened.body;
    const row = this.plan.store.row(m1.idI);
    if (decision.kind !== 'answer' || decision.with !== 'M3' || row === undefined) return answer;
    const psk = derivePsk(Secret.fromHex(row.key), m1.rnI, rnC);
    const committed = { idC: request.idC, tid: request.tid, ts: Number(ts), nidI: new Uint8Array(18), lifetime: row.lifetime };
    this.plan.store.put({ ...row, key: keyText(psk), initial: false, committed });
    return answer;
  }
}

/** M8 before the disk has the key. */
class AnswersFirst extends SimulatedServer {
  protected override commit(
    request: LinkRequest,
    opened: OpenedRequest,
    commitment: JudgedCommit,
    done: (result: CommitResult) => void,
  ): void {
    super.commit(request, opened, commitment, () => undefined);
    done('committed');
  }
}

/** A commit that is written otherwise. */
function withCommitAction(
  action: (server: ExposedServer, opened: OpenedRequest, commitment: JudgedCommit) => WriteAction,
  watches: boolean,
): Rules {
  return withServer(
    class extends ExposedServer {
      protected override commit(
        _request: LinkRequest,
        opened: OpenedRequest,
        commitment: JudgedCommit,
        done: (result: CommitResult) => void,
      ): void {
        this.proofAccepted(opened);
        this.plan.store.transact(this.process, action(this, opened, commitment), done);
        if (watches) this.watchStore();
      }
    },
  );
}

/** What an action may look at. */
class ExposedServer extends SimulatedServer {
  get time(): number {
    return this.wall;
  }

  get monotonicNow(): number {
    return this.process.monotonicMs;
  }
}

const { isWithinTimeWindow } = PROFILE.roles.server;

/** Whatever K_i is by now, it is replaced. */
export const commitsWithoutComparing: Rules = withCommitAction(
  (server, opened, { to, commit }) =>
    (rows) => {
      const row = rows.get(opened.body.m1.idI);
      if (!isWithinTimeWindow(opened, server.time)) return 'expired';
      return row === undefined ? 'conflict' : { ...row, key: keyText(to), initial: false, committed: commit };
    },
  true,
);

/**
 * The key is compared as the commit is written, and not whether an administrator has given that
 * very key again since.
 */
export const comparesKeyAlone: Rules = withCommitAction((server, opened, judged) => {
  const { idI } = opened.body.m1;
  const action = commitAction(
    idI,
    judged,
    () => server.monotonicNow,
    () => isWithinTimeWindow(opened, server.time),
  );
  return (rows, modeOf) => {
    const row = rows.get(idI);
    return action(row === undefined ? rows : new Map([[idI, { ...row, reissuedAt: judged.reissuedAt }]]), modeOf);
  };
}, true);

/** A write may take as long as it takes. */
export const writesLate: Rules = withCommitAction(
  (_, opened, judged) =>
    commitAction(
      opened.body.m1.idI,
      judged,
      () => 0,
      () => true,
    ),
  false,
);

/** As the profile, but nothing ends a write that hangs in the disk. */
export const doesNotWatch: Rules = withCommitAction(
  (server, opened, judged) =>
    commitAction(
      opened.body.m1.idI,
      judged,
      () => server.monotonicNow,
      () => isWithinTimeWindow(opened, server.time),
    ),
  false,
);

/** M2 is answered from a copy of the registry that is minutes old. */
class ReadsStale extends SimulatedServer {
  readonly #copies = new Map<number, { readonly record: ServerNodeRecord | undefined; readonly at: number }>();

  protected override read(of: 'M2' | 'M7', idI: number): ServerNodeRecord | undefined {
    if (of === 'M7') return super.read(of, idI);
    const { now } = this.context.simulation;
    const copy = this.#copies.get(idI);
    if (copy !== undefined && now - copy.at < 600_000) return copy.record;
    const record = super.read(of, idI);
    this.#copies.set(idI, { record, at: now });
    return record;
  }
}

/** A key is seen before the disk has it. */
class ReadsUnsynced extends SimulatedServer {
  protected override read(of: 'M2' | 'M7', idI: number): ServerNodeRecord | undefined {
    const row = this.plan.store.unsynced;
    return row?.idI === idI ? this.plan.store.recordOf(row) : super.read(of, idI);
  }
}

class IgnoresSteps extends SimulatedServer {
  protected override mayCommit(): boolean {
    return true;
  }
}

/** The profile's five minutes after a step back, and nothing beyond. */
class WaitsFiveMinutes extends SimulatedServer {
  protected override isFromBlockedRange(): boolean {
    return false;
  }
}

/** A clock that shows a later time than before the start has run on. */
class TrustsStarts extends SimulatedServer {
  protected override newStepDetector(times: ClockHistory): ClockStepDetector {
    const { savedAt } = times;
    return savedAt !== undefined && this.wall >= savedAt.wallMs ? new ClockStepDetector(this.now) : super.newStepDetector(times);
  }
}

/**
 * Whatever lies before the latest time that was ever shown is past: also what the clock, far ahead
 * for a while, never showed.
 */
class WaitsForLatest extends SimulatedServer {
  protected override isFromBlockedRange(ts: number): boolean {
    return this.plan.store.clockHistory.previous.some(({ until }) => ts <= until);
  }
}

/** Nonces are counted, from nought at each start. */
class CountsNonces extends SimulatedServer {
  #run = 0;
  #count = 0;

  protected override nonce(): Uint8Array {
    if (this.#run !== this.process.run) this.#count = 0;
    this.#run = this.process.run;
    this.#count += 1;
    const nonce = new Uint8Array(13);
    new DataView(nonce.buffer).setUint32(9, this.#count);
    return nonce;
  }
}

/** A helpful log. */
class LogsKeys extends SimulatedServer {
  protected override seal(request: LinkRequest, opened: OpenedRequest, decision: FinalDecision, skCs: Secret): ServerAnswer {
    if (decision.kind === 'answer' && decision.with === 'M3')
      this.context.log(this.plan.name, `answers with the key ${keyText(decision.key)}`);
    return super.seal(request, opened, decision, skCs);
  }
}

/** A repeat of M8 grants what is left of the lifetime. */
export const grantsWhatIsLeft: Rules = withDecide((opened, node, wall): ServerDecision => {
  const decision = decide(opened, node, wall);
  if (decision.kind !== 'answer' || decision.with !== 'M8' || decision.lifetime === 0) return decision;
  const gone = Math.round((wall - (node?.committed?.ts ?? wall)) / 1000);
  return { ...decision, lifetime: Math.max(1, decision.lifetime - Math.max(0, gone)) };
});

/** TS is not looked at. */
export const ignoresTs: Rules = {
  ...PROFILE,
  roles: {
    ...PROFILE.roles,
    server: {
      ...PROFILE.roles.server,
      decide: (opened, node) => decide(opened, node, Number(opened.body.ts)),
      isWithinTimeWindow: () => true,
    },
  },
};

/** Any controller may ask for any node. */
export const assignsToAll: Rules = withDecide((opened, node, wall) =>
  decide(opened, node && { ...node, controller: opened.idC }, wall),
);

/** An M7 is taken on the controller's word. */
export const needsNoProof: Rules = withDecide((opened, node, wall): ServerDecision => {
  const decision = decide(opened, node, wall);
  if (decision.kind !== 'refuse' || decision.refusal !== 'proofFailed' || opened.type !== 'M7' || node === undefined)
    return decision;
  const { idC, tid, body } = opened;
  const to = derivePsk(node.key, body.m1.rnI, body.rnC);
  const commit = { idC, tid, ts: Number(body.ts), nidI: body.nidI, lifetime: node.lifetime };
  return { kind: 'commit', with: 'M8', from: node.key, to, commit };
});

/** An initial key that is given again counts as any other. */
export const forgetsReissue: Rules = withDecide((opened, node, wall) =>
  decide(opened, node && { ...node, reissuedAt: undefined }, wall),
);

/** What bears a TS from before T is refused; M3s given before T may bear a later one. */
export const takesReissueForLatestTs: Rules = withDecide((opened, node, wall) => {
  const { reissuedAt } = node ?? {};
  return decide(
    opened,
    node && { ...node, reissuedAt: reissuedAt === undefined ? undefined : reissuedAt - REISSUE_HOLDOFF_MS },
    wall,
  );
});

/** A restore sets T for no node. */
class RestoresAsItWas extends Administrator {
  protected override restored(row: RegistryRow): RegistryRow {
    return row;
  }
}

/** A node that is removed is forgotten, with the key it had. */
class ForgetsRemoved extends Administrator {
  protected override hadBefore(): boolean {
    return false;
  }
}

/** M3 is not sealed. */
export const sendsKeysInClear: Rules = {
  ...PROFILE,
  roles: {
    ...PROFILE.roles,
    server: {
      ...PROFILE.roles.server,
      sealAnswer: (request, opened, decision, nonce, skCs) => {
        const sealed = sealAnswer(request, opened, decision, nonce, skCs);
        if (decision.kind !== 'answer' || decision.with !== 'M3') return sealed;
        sealed.set(keyOctets(decision.key), 14);
        return sealed;
      },
    },
  },
};

export const restoresAsItWas: Rules = { ...PROFILE, Administrator: RestoresAsItWas };
export const forgetsRemoved: Rules = { ...PROFILE, Administrator: ForgetsRemoved };
export const commitsOnM2: Rules = withServer(CommitsOnM2);
export const answersFirst: Rules = withServer(AnswersFirst);
export const readsStale: Rules = withServer(ReadsStale);
export const readsUnsynced: Rules = withServer(ReadsUnsynced);
export const ignoresSteps: Rules = withServer(IgnoresSteps);
export const waitsFiveMinutes: Rules = withServer(WaitsFiveMinutes);
export const trustsStarts: Rules = withServer(TrustsStarts);
export const waitsForLatest: Rules = withServer(WaitsForLatest);
/**
 * The nonce of an answer is what was drawn, whatever is sealed; counting alone would harm nobody.
 */
export const countsNonces: Rules = {
  ...withServer(CountsNonces),
  roles: {
    ...PROFILE.roles,
    server: {
      ...PROFILE.roles.server,
      sealAnswer: (request, opened, decision, nonce, skCs) => {
        const { idI } = opened.body.m1;
        if (decision.kind === 'refuse') {
          return sealM9({ reason: REFUSALS[decision.refusal].reason, idI }, nonce, request.octets, skCs);
        }
        if (decision.with === 'M3') return sealM3({ key: decision.key, idI }, nonce, request.octets, skCs);
        return decision.with === 'M8'
          ? sealM8({ idI, lifetime: decision.lifetime }, nonce, request.octets, skCs)
          : sealAnswer(request, opened, decision, nonce, skCs);
      },
    },
  },
};
export const logsKeys: Rules = withServer(LogsKeys);
