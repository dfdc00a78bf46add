/** Auth-servers that break one rule of the profile each. */

import { KEY_KIND } from '@latchkey/keyring';
import {
  type ClockHistory,
  type Clocks,
  type Commit,
  decide,
  derivePsk,
  REFUSALS,
  REISSUE_HOLDOFF_MS,
  sealAnswer,
  sealM3,
  sealM8,
  sealM9,
  type Secret,
  type ServerDecision,
  type ServerNodeRecord,
  type ServerRole,
} from '@latchkey/protocol';
import type { NodeRow, Registry, Snapshot as RegistrySnapshot } from '@latchkey/registry';
import { type Keys, MemoryStorage, type Outcome } from '@latchkey/registry/memory';
import { Administrator } from '../administrator.js';
import { keyOctets, keyText } from '../key-text.js';
import { PROFILE, type Rules } from '../rules.js';
import { SimulatedServer } from '../server.js';
import type { Snapshot } from '../simulated-registry.js';
import { SimulatedStorage, type Writes } from '../simulated-storage.js';

function withServer(Server: typeof SimulatedServer): Rules {
  return { ...PROFILE, Server };
}

function withDecide(judge: Rules['roles']['server']['decide']): Rules {
  return { ...PROFILE, roles: { ...PROFILE.roles, server: { ...PROFILE.roles.server, decide: judge } } };
}

/** Replaces the key of a node, as `Registry.commit` does. */
function withNewKey({ keyring }: Registry, row: NodeRow, idI: number, to: Secret, commit: Commit): NodeRow {
  const { idC, tid, ts, nidI, lifetime } = commit;
  const { reissuedAt: _, ...rest } = row;
  const key = keyring.seal({ kind: KEY_KIND.node, id: idI }, to);
  return { ...rest, key, initial: false, committed: { idC, tid: tid.toString(16), ts, nidI, lifetime, at: ts } };
}

/** The draft read literally: the key is replaced on M2, which no node has authenticated. */
class CommitsOnM2 extends SimulatedServer {
  #opened: Registry | undefined;

  protected override prepare(registry: Registry): void {
    this.#opened = registry;
    super.prepare(registry);
  }

  protected override role(): ServerRole {
    const role = super.role();
    return {
      ...role,
      sealAnswer: (request, opened, decision, random, skCs) => {
        const answer = role.sealAnswer(request, opened, decision, random, skCs);
        const { rnC, m1, ts } = opened.body;
        const registry = this.#opened;
        if (decision.kind !== 'answer' || decision.with !== 'M3' || registry === undefined) return answer;
        const psk = derivePsk(decision.key, m1.rnI, rnC);
        const commit = { idC: request.idC, tid: request.tid, ts: Number(ts), nidI: new Uint8Array(18), lifetime: 0 };
        const write = registry.write({ nodes: [m1.idI] }, (found) => {
          const row = found.node(m1.idI)?.row;
          if (row === undefined) return { result: undefined };
          return { result: undefined, put: { nodes: [[m1.idI, withNewKey(registry, row, m1.idI, psk, commit)]] } };
        });
        this.context.simulation.run(() => write.catch(() => undefined));
        return answer;
      },
    };
  }
}

/** M8 before the disk has the key. */
class AnswersFirst extends SimulatedServer {
  protected override prepare(registry: Registry): void {
    const commit = registry.commit.bind(registry);
    registry.commit = (node, to, ...rest): ReturnType<Registry['commit']> => {
      const key = node.key.copy();
      const kept = { ...node, key, stored: { ...node.stored, key } };
      this.context.simulation.run(() => commit(kept, to.copy(), ...rest).catch(() => undefined));
      return Promise.resolve('committed');
    };
    super.prepare(registry);
  }
}

type CommitArguments = Parameters<Registry['commit']>;
/** Whether a commit may replace the key of this row. */
type MayReplace = (
  registry: Registry,
  row: NodeRow,
  judged: CommitArguments,
  found: RegistrySnapshot,
) => 'committed' | 'conflict' | 'expired';

/** A commit that is compared otherwise when it is written. */
function withCommit(mayReplace: MayReplace): typeof SimulatedServer {
  return class extends SimulatedServer {
    protected override prepare(registry: Registry): void {
      registry.commit = (...judged): ReturnType<Registry['commit']> => {
        const [{ idI }, to, commit] = judged;
        return registry.write({ nodes: [idI] }, (found) => {
          const row = found.node(idI)?.row;
          const result = row === undefined ? 'conflict' : mayReplace(registry, row, judged, found);
          if (row === undefined || result !== 'committed') return { result };
          return { result, put: { nodes: [[idI, withNewKey(registry, row, idI, to, commit)]] } };
        });
      };
      super.prepare(registry);
    }

    /** The registry does not know of these commits. */
    protected override oldestCommit(): number | undefined {
      return this.plan.registry.queue.oldestOf(this.process);
    }
  };
}

/** Whatever K_i is by now, it is replaced. */
export const commitsWithoutComparing: Rules = withServer(
  withCommit((_, __, [, , , wall, isInTime]) => (isInTime(wall()) ? 'committed' : 'expired')),
);

/** Whether the node has the key it was judged by, and its controller the mode. */
function isSameKeyAndMode(
  registry: Registry,
  { controller, key }: NodeRow,
  [node]: CommitArguments,
  found: RegistrySnapshot,
): boolean {
  const row = found.controller(controller)?.row;
  const stored = registry.keyring.unseal({ kind: KEY_KIND.node, id: node.idI }, key);
  return stored.equals(node.key) && (row?.passThrough === true) === (node.passThrough !== undefined);
}

/**
 * Compares the key at the commit, but not whether an administrator has reissued the same key since.
 */
export const comparesKeyAlone: Rules = withServer(
  withCommit((registry, row, judged, found) => {
    const [, , , wall, isInTime] = judged;
    if (!isInTime(wall())) return 'expired';
    return isSameKeyAndMode(registry, row, judged, found) ? 'committed' : 'conflict';
  }),
);

/** A write without a time limit. */
class WritesLate extends withCommit((registry, row, judged, found) =>
  isSameKeyAndMode(registry, row, judged, found) ? 'committed' : 'conflict',
) {
  protected override watchCommits(): void {
    // Nothing ends it.
  }
}

/**
 * As the profile, but nobody minds a write that hangs in the disk. Each of the two rules by itself
 * does.
 */
class DoesNotWatch extends SimulatedServer {
  protected override prepare(registry: Registry): void {
    super.prepare(registry);
    registry.hasOverdueCommit = () => false;
  }

  protected override watchCommits(): void {
    // Nothing ends it.
  }
}

/** M2 is answered from a copy of the registry that is minutes old. */
class ReadsStale extends SimulatedServer {
  readonly #copies = new Map<number, { readonly record: ServerNodeRecord; readonly at: number }>();

  protected override role(): ServerRole {
    const role = super.role();
    return {
      ...role,
      decide: (opened, node, wallMs) =>
        role.decide(opened, opened.type === 'M7' || node === undefined ? node : this.#copyOf(node), wallMs),
    };
  }

  #copyOf(node: ServerNodeRecord): ServerNodeRecord {
    const { now } = this.context.simulation;
    const copy = this.#copies.get(node.idI);
    if (copy !== undefined && now - copy.at < 600_000) return { ...copy.record, key: copy.record.key.copy() };
    this.#copies.set(node.idI, { record: { ...node, key: node.key.copy() }, at: now });
    return node;
  }
}

/** A key is seen before the disk has it. */
class ReadsUnsynced extends SimulatedServer {
  protected override newStorage(): SimulatedStorage {
    return this.plan.registry.newStorage(this.process, UnsyncedStorage);
  }
}

/** What is written is visible as soon as it is decided. A crash undoes it. */
class UnsyncedStorage extends SimulatedStorage {
  protected override decided(keys: Keys, outcome: Outcome<unknown>): Writes {
    const writes = super.decided(keys, outcome);
    if (keys.nodes === undefined || writes !== 'log') return writes;
    this.order({ effect: 'volatile' });
    void MemoryStorage.prototype.write.call(this, keys, () => outcome);
    return writes;
  }

  protected override takeEffect(keys: Keys, outcome: Outcome<unknown>): void {
    if (keys.nodes !== undefined) this.database.crash();
    super.takeEffect(keys, outcome);
  }

  protected override lost(): void {
    this.database.crash();
  }
}

/** A clock that is never set back, to who compares it with the monotonic one. */
class IgnoresSteps extends SimulatedServer {
  protected override clocks(): Clocks {
    return { wallMs: this.wall, monotonicMs: this.wall };
  }

  protected override prepare(registry: Registry): void {
    remembersClock(registry, ({ current }) => ({ current, previous: [] }));
    super.prepare(registry);
  }
}

/** Replaces the server's view of its clock history; the stored history is right. */
function remembersClock(registry: Registry, seen: (history: ClockHistory) => ClockHistory): void {
  const save = registry.saveClockHistory.bind(registry);
  registry.saveClockHistory = async (...given): Promise<ClockHistory> => seen(await save(...given));
  Object.defineProperty(registry, 'clockHistory', {
    get: () => seen(registry.metadata.get('clock history') as ClockHistory),
  });
}

/** The profile's five minutes after a step back, and nothing beyond. */
class WaitsFiveMinutes extends SimulatedServer {
  protected override prepare(registry: Registry): void {
    remembersClock(registry, (history) => ({ ...history, previous: [] }));
    super.prepare(registry);
  }
}

/** A clock that shows a later time than before the start has run on. */
class TrustsStarts extends SimulatedServer {
  protected override prepare(registry: Registry): void {
    remembersClock(registry, (history) => {
      const { savedAt } = history;
      return savedAt !== undefined && this.wall >= savedAt.wallMs ? { ...history, savedAt: undefined } : history;
    });
    super.prepare(registry);
  }
}

/** A server that starts takes the clock for one that has run on, whatever it shows. */
class TrustsAllStarts extends SimulatedServer {
  protected override prepare(registry: Registry): void {
    remembersClock(registry, (history) => ({ ...history, savedAt: undefined }));
    super.prepare(registry);
  }
}

/**
 * Whatever lies before the latest time that was ever shown is past: also what the clock, far ahead
 * for a while, never showed.
 */
class WaitsForLatest extends SimulatedServer {
  protected override prepare(registry: Registry): void {
    remembersClock(registry, (history) => ({
      ...history,
      previous: history.previous.map(({ until }) => ({ from: 0, until })),
    }));
    super.prepare(registry);
  }
}

/** Nonces are counted, from nought at each start. */
class CountsNonces extends SimulatedServer {
  #run = 0;
  #count = 0;

  protected override randomBytes(n: number): Uint8Array {
    if (this.#run !== this.process.run) this.#count = 0;
    this.#run = this.process.run;
    this.#count += 1;
    const nonce = new Uint8Array(n);
    new DataView(nonce.buffer).setUint32(n - 4, this.#count);
    return nonce;
  }
}

/** A helpful log. */
class LogsKeys extends SimulatedServer {
  protected override role(): ServerRole {
    const role = super.role();
    return {
      ...role,
      sealAnswer: (request, opened, decision, random, skCs) => {
        if (decision.kind === 'answer' && decision.with === 'M3') this.log.info(`answers with the key ${keyText(decision.key)}`);
        return role.sealAnswer(request, opened, decision, random, skCs);
      },
    };
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

/** Rejects a TS from before T, although an M3 from before T may have a later TS. */
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
  protected override async restored(snapshot: Snapshot, wallMs: number): Promise<void> {
    await this.registry.restore(snapshot, wallMs);
    await this.registry.administrator.write({}, () => ({ result: undefined, put: { metadata: [['restored', undefined]] } }));
    await this.registry.reopen();
  }
}

/** A node that is removed is forgotten, with the key it had. */
class ForgetsRemoved extends Administrator {
  protected override async removed(registry: Registry, idI: number): Promise<void> {
    await super.removed(registry, idI);
    await registry.write({}, () => ({ result: undefined, put: { recentInitialKeys: [[idI, []]] } }));
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
export const writesLate: Rules = withServer(WritesLate);
export const doesNotWatch: Rules = withServer(DoesNotWatch);
export const readsUnsynced: Rules = withServer(ReadsUnsynced);
export const ignoresSteps: Rules = withServer(IgnoresSteps);
export const waitsFiveMinutes: Rules = withServer(WaitsFiveMinutes);
export const trustsStarts: Rules = withServer(TrustsStarts);
export const trustsAllStarts: Rules = withServer(TrustsAllStarts);
export const waitsForLatest: Rules = withServer(WaitsForLatest);
/**
 * The nonce of an answer is the random octets only, whatever is sealed. Counting by itself would do
 * no harm.
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
