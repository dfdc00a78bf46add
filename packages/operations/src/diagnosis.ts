/**
 * Diagnoses why a node has not joined, or does not renew. The cause and the action follow from the
 * registry, and from the activity that its server recorded. All of it is plain data: `sentence`
 * describes the cause, and `next-steps.ts` turns the action into command lines.
 */

import { expiryOf, formatId } from '@latchkey/protocol';
import { readFolderLock } from '@latchkey/runtime/files';
import * as contract from './contract/diagnosis.js';
import type { Action, Diagnosis, DiagnosisInput, Facts, LateNodes } from './contract/diagnosis.js';
import { countOf, findCause } from './diagnosis-cause.js';
import { type Situation, situationsOf, type Surroundings, surroundingsOf } from './diagnosis-situation.js';
import { sentenceOf } from './diagnosis-text.js';
import { isoTime } from '@latchkey/runtime/iso-time';
import { orderStatus, type Registry, renewalDue } from '@latchkey/registry';
import { implement, type Operation } from './operation.js';
import { numberFromId } from './parse-input.js';

/** Looks at the registry, and at whether a server runs on it. */
export const nodesDiagnose: Operation<DiagnosisInput, Diagnosis> = implement(
  contract.nodesDiagnose,
  async ({ registry, clock, visibleOrders }, { id, holds: deviceKey }) => {
    const lock = await readFolderLock(registry.folder);
    const surroundings = await surroundingsOf(registry, lock, clock(), { deviceKey, visibleOrders });
    return diagnoseNode(registry, numberFromId(id), surroundings);
  },
);

export async function diagnoseNode(registry: Registry, idI: number, surroundings: Surroundings): Promise<Diagnosis> {
  for await (const diagnosis of diagnoseNodes(registry, [idI], surroundings)) return diagnosis;
  throw new RangeError('each node has a diagnosis');
}

/** Each node, in the order of `ids`; a few at a time, as `situationsOf` says. */
export async function* diagnoseNodes(
  registry: Registry,
  ids: readonly number[],
  surroundings: Surroundings,
): AsyncGenerator<Diagnosis> {
  for await (const situation of situationsOf(registry, ids, surroundings)) yield await diagnose(situation);
}

async function diagnose(situation: Situation): Promise<Diagnosis> {
  const finding = await findCause(situation);
  const count = await countOf(finding, situation);
  const { cause, action, instead = null } = finding;
  return {
    id: situation.id,
    cause,
    sentence: sentenceOf(finding, situation, count),
    facts: factsOf(situation, count),
    action: withHalves(action, situation),
    instead: instead && withHalves(instead, situation),
  };
}

/** Notes of an action with an initial key whether that takes the device key, too. */
function withHalves(action: Action, { node }: Situation): Action {
  if (node?.split !== true) return action;
  switch (action.kind) {
    case 'reset-node':
    case 'reinstall-device':
    case 'enrol-again':
      return { ...action, split: true };
    default:
      return action;
  }
}

function factsOf(situation: Situation, count: LateNodes | null): Facts {
  const { node, order, asked, refused, controller, now, surroundings, disabled, removed, registryRestored } = situation;
  const time = (at: number | undefined): string | null => (at === undefined ? null : isoTime(at));
  const expiry = node && expiryOf(node);
  // A caller with limits does not see who disabled the node, nor requests of other nodes of its
  // controller.
  const isLimited = surroundings.visibleOrders !== undefined;
  return {
    at: isoTime(now),
    key: situation.key ?? null,
    key_is_initial: node?.initial ?? null,
    order: node?.order ?? null,
    order_state: (order && orderStatus(order, now)) ?? null,
    disabled: disabled === undefined || isLimited ? null : { since: disabled.at, by: disabled.actor },
    removed: removed === undefined ? null : { at: removed.at, by: removed.actor },
    joined_at: time(node?.joinedAt),
    renewed_at: time(node?.committedAt === node?.joinedAt ? undefined : node?.committedAt),
    renewal_due_at: node === undefined || expiry === undefined ? null : isoTime(renewalDue(node)),
    expires_at: time(expiry),
    grace_ends_at: node === undefined || expiry === undefined ? null : isoTime(expiry + 1000 * node.grace),
    controller:
      controller === undefined
        ? null
        : {
            id: controller.id,
            address: controller.address,
            heard_at: isLimited ? null : time(controller.sighting.lastSeen?.at),
            unopened_since: time(controller.sighting.authenticationFailed?.since),
            clock_skew_ms: isLimited ? null : (controller.sighting.clockSkew?.skew ?? null),
          },
    nodes: count,
    server: { runs: surroundings.server.runs, seen_at: time(surroundings.server.seenAt) },
    asked: asked === undefined ? null : { ...runOf(asked), controller: formatId(asked.by) },
    refused: refused === undefined ? null : { ...runOf(refused), refusal: refused.refusal, controller: formatId(refused.by) },
    restored:
      registryRestored === undefined ? null : { at: isoTime(registryRestored.at), backup_at: isoTime(registryRestored.backupAt) },
    device_key: situation.deviceKey ?? null,
  };
}

function runOf({ since, at, count }: { readonly since: number; readonly at: number; readonly count: number }): {
  readonly since: string;
  readonly at: string;
  readonly count: number;
} {
  return { since: isoTime(since), at: isoTime(at), count };
}
