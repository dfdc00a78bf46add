/**
 * Activity of a node or a controller between two joins, and how it is merged into the stored
 * activity. Pure: every engine merges in the same way.
 */

import {
  addSeenBy,
  type ControllerActivity,
  type EventRun,
  type NodeActivity,
  type NodeRow,
  type OpenedRun,
  type RejectionRun,
} from './rows.js';

/** IDs outside the registry with recorded activity; at the bound all are deleted. */
export const MAX_UNKNOWN_NODES = 1_024;

/** What is being gathered of a node. */
export interface GatheredNode extends NodeActivity {
  /** ID_c of the controller that was given the key last, in an M3. A pass-through one is not. */
  keyGivenTo?: number;
}

/**
 * A row that is being gathered, with the runs of the stored row that have ended since that was
 * written.
 */
export interface GatheredController extends ControllerActivity {
  unopenedEnded?: true;
  skewedEnded?: true;
}

/** What was seen since it was last written, in ascending order of ID. */
export interface ActivityBatch {
  readonly nodes: readonly (readonly [idI: number, gathered: GatheredNode])[];
  readonly controllers: readonly (readonly [idC: number, gathered: GatheredController])[];
}

/** `row`: of the node, if the ID is in the registry. */
export function mergeNodeActivity(
  stored: NodeActivity | undefined,
  gathered: NodeActivity,
  row: NodeRow | undefined,
): NodeActivity {
  const joinedAt = row?.committed?.at ?? -Infinity;
  // What was seen before the node's last join is settled by it.
  const sinceLastJoin = <R extends EventRun>(run: R | undefined): R | undefined =>
    run !== undefined && run.at > joinedAt ? run : undefined;
  const { keyRequested, rejected } = stored ?? {};
  // As in `recordKeyRequest`.
  const goesOn = rejected !== undefined && (gathered.keyRequested === undefined || rejected.refusal === 'proofFailed');
  const isSameRejection = goesOn && (gathered.rejected === undefined || isSameRefusal(rejected, gathered.rejected));
  return omitUndefined({
    keyRequested: mergeRuns(sinceLastJoin(keyRequested), gathered.keyRequested),
    rejected: mergeRuns(isSameRejection ? sinceLastJoin(rejected) : undefined, gathered.rejected),
  });
}

/** The row with the controller in it that was given the node's IK, if that is news. */
export function seenByActivity(row: NodeRow | undefined, { keyGivenTo }: GatheredNode): NodeRow | undefined {
  if (keyGivenTo === undefined || row?.initial !== true) return undefined;
  const seenBy = addSeenBy(row, keyGivenTo);
  return seenBy === row.seenBy ? undefined : { ...row, seenBy };
}

export function mergeControllerActivity(
  stored: ControllerActivity | undefined,
  gathered: GatheredController,
): ControllerActivity {
  const { lastSeen, authenticationFailed, clockSkew } = stored ?? {};
  const sameSide =
    clockSkew !== undefined && (gathered.clockSkew === undefined || isSameSide(clockSkew.skew, gathered.clockSkew.skew));
  return omitUndefined({
    lastSeen: mergeOpened(lastSeen, gathered.lastSeen),
    authenticationFailed: mergeRuns(gathered.unopenedEnded ? undefined : authenticationFailed, gathered.authenticationFailed),
    clockSkew: mergeRuns(sameSide && !gathered.skewedEnded ? clockSkew : undefined, gathered.clockSkew),
  });
}

/** Whether a clock that was off by `one` ms and then by `other` was off to the same side. */
export function isSameSide(one: number, other: number): boolean {
  return Math.sign(one) === Math.sign(other);
}

/** Whether two refusals in a row are one run. */
export function isSameRefusal(
  one: Pick<RejectionRun, 'refusal' | 'by' | 'skew'>,
  other: Pick<RejectionRun, 'refusal' | 'by' | 'skew'>,
): boolean {
  return one.refusal === other.refusal && one.by === other.by && isSameSide(one.skew ?? 0, other.skew ?? 0);
}

export function extendRun(before: EventRun | undefined, at: number): EventRun {
  return { since: before?.since ?? at, at, count: (before?.count ?? 0) + 1 };
}

/**
 * The run begins again with another SK_cs. Times are not compared: a clock that was set back would
 * hold on to the former key.
 */
function mergeOpened(before: OpenedRun | undefined, noted: OpenedRun | undefined): OpenedRun | undefined {
  return noted === undefined || before?.key === noted.key ? mergeRuns(before, noted) : noted;
}

/** Continues a recorded run with the new one. */
function mergeRuns<R extends EventRun>(before: R | undefined, noted: R | undefined): R | undefined {
  if (before === undefined || noted === undefined) return noted ?? before;
  return { ...noted, since: before.since, count: before.count + noted.count };
}

/** Returns the row without `undefined` fields: the store would store those too. */
function omitUndefined<R extends object>(row: R): R {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as R;
}
