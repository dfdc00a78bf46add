/** All attacks, in the order of the table. */

import type { Attack } from './attack.js';
import { alteredM4, misbinding, wrongController } from './attacks/binding.js';
import { amplification, forgedRefusal, offPath } from './attacks/coap.js';
import {
  anothersC4,
  commitsAlone,
  followedKeys,
  freshTs,
  repeatedTids,
  steeredGeneration,
  steeredGenerations,
} from './attacks/dishonest-controller.js';
import { halfOpen, lockOutByForgedM1 } from './attacks/flood.js';
import {
  listeningInstaller,
  listeningInstallerOfSplitKeys,
  manufacturerWithExtractedKey,
  offlineGuessing,
} from './attacks/initial-key.js';
import { forgedTs, otherController, replayedM3, splicedM3, typeConfusion } from './attacks/link.js';
import { forgedM1, forgedM2, lostAnswer } from './attacks/premature-commit.js';
import { pskOracle, pskSteered } from './attacks/psk-oracle.js';
import { reflection } from './attacks/reflection.js';
import { recordedCommit } from './attacks/reset.js';
import { restoredState, resumedMemory } from './attacks/snapshot.js';

export const ATTACKS: readonly Attack[] = [
  pskOracle,
  pskSteered,
  forgedM1,
  lostAnswer,
  forgedM2,
  recordedCommit,
  splicedM3,
  replayedM3,
  typeConfusion,
  forgedTs,
  otherController,
  misbinding,
  wrongController,
  alteredM4,
  reflection,
  restoredState,
  offPath,
  forgedRefusal,
  halfOpen,
  lockOutByForgedM1,
  amplification,
  resumedMemory,
  followedKeys,
  commitsAlone,
  steeredGeneration,
  steeredGenerations,
  freshTs,
  anothersC4,
  repeatedTids,
  offlineGuessing,
  listeningInstaller,
  listeningInstallerOfSplitKeys,
  manufacturerWithExtractedKey,
];
