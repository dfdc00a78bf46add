/** Nodes that break one rule of the profile each. */

import type { AttemptEnvironment } from '@latchkey/node-agent/join-attempt';
import {
  type AwaitingM6,
  CANDIDATE_MIN_AGE_MS,
  ccmOpen,
  decodeM4,
  tryDecode,
  installNode,
  LABEL_M4,
  type M4Decision,
  type NodeState,
  receiveM4,
  receiveM6,
  RN_LENGTH,
  sealM4,
  type Secret,
} from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import type { Disk } from '../disk.js';
import { type AttemptFile, SimulatedNode } from '../node.js';
import type { InitiatorRole } from '../roles.js';
import { FILE, SimulatedFile, type Step } from '../simulated-file.js';
import { PROFILE, type Rules } from '../rules.js';

type Store = Extract<M4Decision, { kind: 'store' }>;
type ReceiveM4 = typeof receiveM4;

function withNode(Node: typeof SimulatedNode): Rules {
  return { ...PROFILE, Node };
}

function withReceiveM4(receive: ReceiveM4): Rules {
  return { ...PROFILE, roles: { ...PROFILE.roles, initiator: { ...PROFILE.roles.initiator, receiveM4: receive } } };
}

/** A node that stores another state than the profile requires. */
function withStoredState(change: (decision: Store, before: NodeState) => Store): Rules {
  return withReceiveM4((state, ...rest) => {
    const decision = receiveM4(state, ...rest);
    return decision.kind === 'store' ? change(decision, state) : decision;
  });
}

export const dropsKeyBeforeM6: Rules = withStoredState((decision) => ({
  ...decision,
  state: { ...decision.state, confirmed: decision.attempt.psk, initial: false, candidates: [] },
}));

export const doesNotPromote: Rules = withStoredState((decision, before) =>
  decision.promoted
    ? {
        ...decision,
        promoted: false,
        dropped: [],
        state: { ...before, candidates: [...before.candidates, ...decision.state.candidates].slice(-4) },
      }
    : decision,
);

export const erasesWithoutPromoting: Rules = withStoredState((decision, before) =>
  decision.promoted
    ? { ...decision, promoted: false, dropped: [], state: { ...before, candidates: decision.state.candidates } }
    : decision,
);

export const fifthWithoutWait: Rules = withReceiveM4((state, attempt, ...rest) =>
  receiveM4(state, { ...attempt, generatedAt: Number.MAX_SAFE_INTEGER }, ...rest),
);

export const dropsByAgeAtM4: Rules = withReceiveM4((state, attempt, octets, now) =>
  receiveM4(state, { ...attempt, generatedAt: now }, octets, now),
);

export const takesAnyController: Rules = withReceiveM4((state, ...rest) => {
  const decision = receiveM4({ ...state, controllers: 'any' }, ...rest);
  return decision.kind === 'store' ? { ...decision, state: { ...decision.state, controllers: state.controllers } } : decision;
});

/**
 * Opens an M4 that was sealed with no associated data, and hands the real initiator the M4 it would
 * have been.
 */
export function receiveM4WithoutAad(compareRnI: boolean): ReceiveM4 {
  return (state, attempt, octets, now) => {
    const m4 = tryDecode(decodeM4, octets);
    if (m4 === undefined) return { kind: 'ignored', reason: 'not an M4' };
    for (const key of [state.confirmed, ...state.candidates.map(({ psk }) => psk).toReversed()]) {
      const body = openBare(key, octets);
      if (body === undefined) continue;
      const rnC = body.slice(RN_LENGTH);
      const rnI = compareRnI ? body.slice(0, RN_LENGTH) : attempt.rnI;
      return receiveM4(state, attempt, sealM4(m4, { rnI, rnC }, key, attempt.m1), now);
    }
    return { kind: 'ignored', reason: 'does not open' };
  };
}

function openBare(key: Secret, m4: Uint8Array): Uint8Array | undefined {
  return ccmOpen(key.ccmCipher(LABEL_M4), m4.slice(0, 13), new Uint8Array(0), m4.slice(13));
}

/** M5 goes out while the candidate is still being written. */
class SendsM5First extends SimulatedNode {
  /** Nothing is wiped: the write that drops it is still under way. */
  protected override initiator(): InitiatorRole {
    const initiator = super.initiator();
    return {
      ...initiator,
      receiveM4: (...given) => {
        const decision = initiator.receiveM4(...given);
        return decision.kind === 'store' ? { ...decision, dropped: [] } : decision;
      },
    };
  }

  protected override attemptFile(): AttemptFile {
    const file = super.attemptFile();
    return {
      get record() {
        return file.record;
      },
      write: (change) => {
        const writing = file.write(change);
        if (!('state' in change) || 'keyLease' in change) return writing;
        this.context.simulation.run(() => unlessRefused(writing));
        return Promise.resolve();
      },
    };
  }
}

/** Any 2.04 is as good as M6. */
export const believesAny204: Rules = {
  ...PROFILE,
  roles: {
    ...PROFILE.roles,
    initiator: {
      ...PROFILE.roles.initiator,
      receiveM6: (state, awaitingM6, octets) => {
        const decision = receiveM6(state, awaitingM6, octets);
        if (decision.kind === 'joined') return decision;
        const believed: NodeState = { ...state, confirmed: awaitingM6.psk, initial: false, candidates: [] };
        return { kind: 'joined', state: believed, lifetime: 0, dropped: [] };
      },
    },
  },
};

/** An M6 of an attempt that is over still counts. */
class TakesEarlierM6 extends SimulatedNode {
  readonly #earlier: AwaitingM6[] = [];

  protected override initiator(): InitiatorRole {
    const initiator = super.initiator();
    return {
      ...initiator,
      receiveM4: (...given) => {
        const decision = initiator.receiveM4(...given);
        if (decision.kind === 'store') this.#earlier.push(decision.attempt);
        return decision;
      },
      receiveM6: (state, awaitingM6, octets) => {
        const decision = initiator.receiveM6(state, awaitingM6, octets);
        if (decision.kind === 'joined') return decision;
        for (const earlier of this.#earlier.slice(-8)) {
          if (!this.#holds(earlier)) continue;
          const late = initiator.receiveM6(state, earlier, octets);
          if (late.kind === 'joined') return late;
        }
        return decision;
      },
    };
  }

  #holds({ psk }: AwaitingM6): boolean {
    const { confirmed, candidates } = this.stored.state;
    return [confirmed, ...candidates.map((candidate) => candidate.psk)].includes(psk);
  }
}

async function unlessRefused(writing: Promise<void>): Promise<void> {
  try {
    await writing;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
}

/** A candidate's age goes by a clock that is set now and then. */
class AgesByWallClock extends SimulatedNode {
  protected override get powered(): number {
    return this.wall;
  }
}

/**
 * "Not your network any more": a node that believes an error and begins anew with its confirmed
 * key.
 */
class BelievesErrors extends SimulatedNode {
  protected override environment(): AttemptEnvironment {
    const environment = super.environment();
    return {
      ...environment,
      connect: async (options) => {
        const client = await environment.connect(options);
        return {
          exchange: (exchange) =>
            client.exchange({
              ...exchange,
              accept: (response) => {
                if (response.code === '4.03') this.#beginAnew();
                return exchange.accept(response);
              },
            }),
          close: () => client.close(),
        };
      },
    };
  }

  #beginAnew(): void {
    const { state } = this.stored;
    this.context.simulation.run(() => unlessRefused(this.attemptFile().write({ state: { ...state, candidates: [] } })));
  }
}

/** A boot counts for nothing, and what ran since the last attempt is lost with the power. */
class SavesTimeWithAttemptsOnly extends SimulatedNode {
  protected override untilSave(): number {
    return Infinity;
  }
}

/** Saves powered time correctly, but ignores the time without power. */
class CountsNoBoots extends SimulatedNode {
  protected override get boots(): number {
    return 1;
  }
}

/** A boot makes candidates older, as it does the confirmed key. */
class AgesCandidatesByBoots extends SimulatedNode {
  protected override get powered(): number {
    return super.powered + this.boots * CANDIDATE_MIN_AGE_MS;
  }
}

class WrittenInPlace extends SimulatedFile {
  protected override steps(disk: Disk, text: string): readonly Step[] {
    return [
      ['writes a file aside', () => disk.overwrite(FILE, text)],
      ['syncs the file aside', () => disk.sync(FILE)],
      ['goes on after a write', () => undefined],
    ];
  }
}

class NeverSynced extends SimulatedFile {
  protected override steps(disk: Disk, text: string): readonly Step[] {
    return super.steps(disk, text).filter(([name]) => !name.startsWith('syncs'));
  }
}

class FolderNotSynced extends SimulatedFile {
  protected override steps(disk: Disk, text: string): readonly Step[] {
    return super.steps(disk, text).filter(([name]) => name !== 'syncs the folder');
  }
}

function withFile(File: typeof SimulatedFile): Rules {
  return withNode(
    class extends SimulatedNode {
      protected override newFile(text: string): SimulatedFile {
        return new File(this.process, this.plan.diskErrorProbability, text);
      }
    },
  );
}

export const dropsCandidatesOnInstall: Rules = {
  ...PROFILE,
  roles: {
    ...PROFILE.roles,
    initiator: { ...PROFILE.roles.initiator, installNode: (installation) => installNode(installation, undefined) },
  },
};

export const savesTimeWithAttemptsOnly: Rules = withNode(SavesTimeWithAttemptsOnly);
export const countsNoBoots: Rules = withNode(CountsNoBoots);
export const agesCandidatesByBoots: Rules = withNode(AgesCandidatesByBoots);
export const sendsM5First: Rules = withNode(SendsM5First);
export const takesEarlierM6: Rules = withNode(TakesEarlierM6);
export const agesByWallClock: Rules = withNode(AgesByWallClock);
export const believesErrors: Rules = withNode(BelievesErrors);
export const writtenInPlace: Rules = withFile(WrittenInPlace);
export const neverSynced: Rules = withFile(NeverSynced);
export const folderNotSynced: Rules = withFile(FolderNotSynced);
