/**
 * Mutants: the profile with one rule broken each. Some seed must catch each of them.
 *
 * Rules of a shared registry that are left out, because the simulated database does not have what
 * breaks them, and the tests of the engine that hold them (packages/registry/test):
 *
 * - Caches emptied with each new connection, and versions drawn at random: postgres-engine, "kept
 *   caches". A server would have to read a row that no standby has and keep its connection.
 * - Reads answered without the lock of all writes, by itself: postgres-engine, "delivers a commit
 *   late". While a late write has the lock no server keeps the time it shows, and so gives no M3:
 *   the node drops no candidate. Without both rules it is caught.
 * - Two primaries at once, and names of standbys with which both sides pass: postgres-failover.
 * - Orders loaded and unloaded at a time: postgres-engine, "a pending order".
 * - A node and its controller read at two moments: postgres-engine, "as of one moment". No world
 *   notices, because the server also compares the version of the controller with the cached one.
 *
 * Left out, because the invariants provably do not mind:
 *
 * - M8's ID_i not compared, M3's ID_i not compared. Both are sealed over the whole request they
 *   answer, which holds the M1 and so the ID_i: only a server that mixes up its own nodes could
 *   send another. The comparison guards against that, which no honest server does.
 * - RN_i inside M4 not compared. M4 is sealed over M1, which holds RN_i, and the node opens it over
 *   its own M1. Without both it is caught (`m4WithoutAadOrRnI`).
 */

import type { Invariant } from '../simulation.js';
import type { Rules } from '../rules.js';
import { run, type WorldKind } from '../run.js';
import * as controller from './controller-mutants.js';
import { KEY_FEED_MUTANTS } from './key-feed-mutants.js';
import * as node from './node-mutants.js';
import { PASS_THROUGH_MUTANTS } from './pass-through-mutants.js';
import * as server from './server-mutants.js';
import { SHARED_REGISTRY_MUTANTS } from './shared-registry-mutants.js';

export interface Mutant {
  readonly name: string;
  readonly rules: Rules;
  /** Where it is looked for; left out: in standard ones. */
  readonly worlds?: WorldKind;
}

export const MUTANTS: readonly Mutant[] = [
  { name: 'commit on M2', rules: server.commitsOnM2 },
  { name: 'node drops its key before M6', rules: node.dropsKeyBeforeM6 },
  { name: 'bare 2.04 taken for M6', rules: node.believesAny204 },
  { name: 'TIDs from 1 after a restart', rules: controller.tidsFromOne },
  { name: 'TIDs from the clock, none stored', rules: controller.tidsFromClock },
  { name: 'TIDs stored after they were used', rules: controller.tidsStoredBehind },
  { name: 'lifetime as what is left, on a repeat of M8', rules: server.grantsWhatIsLeft },
  { name: 'no associated data in M4', rules: controller.m4WithoutAad },
  { name: 'no associated data in M4, RN_i not compared', rules: controller.m4WithoutAadOrRnI },
  { name: 'M5 before the candidate is stored', rules: node.sendsM5First },
  { name: 'candidate not promoted when M4 opens under it', rules: node.doesNotPromote },
  { name: 'all else erased without promoting', rules: node.erasesWithoutPromoting },
  { name: 'a fifth candidate without the wait', rules: node.fifthWithoutWait },
  { name: 'a candidate dropped by its age when M4 arrives', rules: node.dropsByAgeAtM4 },
  { name: 'age of candidates by the wall clock', rules: node.agesByWallClock },
  { name: 'age of candidates by boots', rules: node.agesCandidatesByBoots },
  { name: 'powered time saved with attempts only', rules: node.savesTimeWithAttemptsOnly },
  { name: 'a boot counts for no time', rules: node.countsNoBoots },
  { name: 'candidates dropped when a node is installed again with its initial key', rules: node.dropsCandidatesOnInstall },
  { name: 'commit without comparing the key', rules: server.commitsWithoutComparing },
  { name: 'an initial key given again without a wait', rules: server.forgetsReissue },
  { name: 'what bears a TS from before a reset refused, and no more', rules: server.takesReissueForLatestTs },
  { name: 'that a key was given again not compared in the commit', rules: server.comparesKeyAlone },
  { name: 'the key of a removed node forgotten at once', rules: server.forgetsRemoved },
  { name: 'a registry restored without a wait', rules: server.restoresAsItWas },
  { name: 'M6 before the commit', rules: controller.confirmsFirst },
  { name: 'M8 before the write', rules: server.answersFirst },
  { name: 'a key visible before the disk has it', rules: server.readsUnsynced },
  { name: 'M6 of an earlier attempt accepted', rules: node.takesEarlierM6 },
  { name: 'stale read for M2', rules: server.readsStale },
  { name: 'clock stepping back accepted', rules: server.ignoresSteps },
  { name: 'five minutes after a step back are enough', rules: server.waitsFiveMinutes },
  { name: 'a clock that stood still while the machine was off is trusted', rules: server.trustsStarts },
  { name: 'no commit before the clock is past all it has shown', rules: server.waitsForLatest },
  { name: 'TS not looked at', rules: server.ignoresTs },
  { name: 'late write', rules: server.writesLate },
  { name: 'a write that hangs is not ended', rules: server.doesNotWatch },
  { name: 'M5 accepted for another transaction', rules: controller.takesM5ForLatest },
  { name: 'a wrong M5 evicts the transaction', rules: controller.evictsOnWrongM5 },
  { name: 'M4 sealed anew on a copy of M1', rules: controller.sealsM4Anew },
  { name: 'M4 under a remembered K_i', rules: controller.remembersKey },
  { name: 'M4 of any controller accepted', rules: node.takesAnyController },
  { name: 'K_i given to any controller', rules: server.assignsToAll },
  { name: "commit without the node's proof", rules: server.needsNoProof },
  { name: 'nonces of the link counted from 0 after a restart, and of nothing else', rules: server.countsNonces },
  { name: 'errors towards the node believed', rules: node.believesErrors },
  { name: 'node file written in place', rules: node.writtenInPlace },
  { name: 'node file never synced', rules: node.neverSynced },
  { name: "folder of the node's file not synced", rules: node.folderNotSynced },
  { name: 'no bounds on transactions', rules: controller.hasNoBounds },
  { name: 'no proof of address asked for', rules: controller.asksNoProof },
  { name: 'M3 not sealed', rules: server.sendsKeysInClear },
  { name: 'keys in the log', rules: server.logsKeys },
  ...PASS_THROUGH_MUTANTS,
  ...KEY_FEED_MUTANTS,
  ...SHARED_REGISTRY_MUTANTS.map(({ name, rules }) => ({ name, rules, worlds: 'shared-registry' as const })),
];

/** The rules of the mutant so called; those of the profile if none is named. */
export function mutantNamed(name: string | undefined): Rules | undefined {
  return MUTANTS.find((mutant) => mutant.name === name)?.rules;
}

/** The kind of worlds that it is looked for in. */
export function worldsOfMutant(name: string | undefined): WorldKind | undefined {
  return MUTANTS.find((mutant) => mutant.name === name)?.worlds;
}

export interface Caught {
  readonly seed: number;
  readonly invariant: Invariant;
  readonly what: string;
}

/** The first seed up to `seeds` that catches a mutant. */
export async function firstCaught({ rules, worlds }: Mutant, seeds: number): Promise<Caught | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    const { violation } = await run(seed, { rules, worlds });
    if (violation !== undefined) return { seed, ...violation };
  }
  return undefined;
}
