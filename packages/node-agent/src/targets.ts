/**
 * `targets:` on the node: its application keys in the files of other programs on the device. It is
 * loaded by an agent that has some.
 */

import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  deriveApplicationKey,
  deriveApplicationRoot,
  deriveKeyId,
  formatId,
  type NodeClocks,
  type Secret,
} from '@latchkey/protocol';
import {
  assertTrusted,
  type DeliveredNode,
  Deliverer,
  durationSchema,
  KeySnapshot,
  labelsOf,
  locatingProblems,
  targetsSchema,
} from '@latchkey/key-delivery/targets';
import { loadConfig } from '@latchkey/runtime/config';
import type { Log } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import type { Telemetry } from '@latchkey/runtime/telemetry';
import * as z from 'zod/mini';
import { CumulativeUptime } from './cumulative-uptime.js';
import { endOf, expiryOf, msSinceReplaced } from './key-lease.js';
import type { NodeFile, StoredNode } from './node-file.js';

/** Folder of the journals, in the state folder. */
const FOLDER = 'targets';
/** Less than the 15 minutes for which the network keeps the former key, in seconds. */
const MAX_ACTIVATE_AFTER = 600;
const DEFAULT_ACTIVATE_AFTER = 30;
/** A wall clock may be set: the expiry is compared with it at least so often, in ms. */
const POLL_INTERVAL_MS = 60_000;
/** `settle` waits so long for files and reloads, in ms. */
const SETTLE = { timeoutMs: 60_000, pollIntervalMs: 50 } as const;

/** Of the configuration only what targets need: the rest was checked before. */
const schema = z.looseObject({
  targets: targetsSchema,
  activate_after: z._default(
    durationSchema.check(z.refine((seconds) => seconds <= MAX_ACTIVATE_AFTER, 'expected 10m or less')),
    DEFAULT_ACTIVATE_AFTER,
  ),
});

export interface NodeTargetsOptions {
  readonly configPath: string;
  /** The node's state folder. */
  readonly folder: string;
  readonly file: NodeFile;
  /** Named in a message to a second process. */
  readonly holder: string;
  readonly log: Log;
}

/**
 * Returns how long the targets go on with the former key, in ms. It follows from the node's file,
 * so that a crash changes nothing.
 */
export function msUntilActivation(
  { formerKey, keyLease }: Pick<StoredNode, 'formerKey' | 'keyLease'>,
  activateAfterMs: number,
  now: NodeClocks,
): number {
  // Without an M6 for it, a candidate became the key: the network has had it since some attempt
  // before.
  if (formerKey === undefined || keyLease?.at !== formerKey.replacedAt.wallMs) return 0;
  if (endOf(formerKey, now) <= now.wallMs) return 0;
  return Math.max(0, activateAfterMs - msSinceReplaced(formerKey, now));
}

export class NodeTargets {
  readonly #deliverer: Deliverer;
  readonly #file: NodeFile;
  readonly #uptime: CumulativeUptime;
  readonly #labels: readonly string[];
  readonly #activateAfterMs: number;
  /**
   * KID of the key that the targets have; `null` if they have none, `undefined` before `update`.
   */
  #kid: string | null | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  private constructor(deliverer: Deliverer, file: NodeFile, labels: readonly string[], activateAfterMs: number) {
    this.#deliverer = deliverer;
    this.#file = file;
    this.#labels = labels;
    this.#activateAfterMs = activateAfterMs;
    this.#uptime = new CumulativeUptime(file.record.powered);
  }

  /** Throws a UsageFailure if the configuration is wrong, or others can change it. */
  static async open({ configPath, folder, file, holder, log }: NodeTargetsOptions): Promise<NodeTargets> {
    await assertTrusted(resolve(configPath), 'the configuration');
    const { targets, activate_after: activateAfter } = await loadConfig(schema, configPath);
    const options = { targets, folder: join(folder, FOLDER), holder, overlap: undefined, role: 'node', log } as const;
    const deliverer = await locatingProblems(configPath, () => Deliverer.open(options));
    return new NodeTargets(deliverer, file, labelsOf(targets), 1000 * activateAfter);
  }

  /** Updates the files to the current key. */
  update(): void {
    if (this.#isStopped) return;
    const { record } = this.#file;
    const now = this.#uptime.clocks();
    const waitMs = msUntilActivation(record, this.#activateAfterMs, now);
    this.#show(this.#nodeAt(record, now, waitMs > 0));
    clearTimeout(this.#timer);
    const expiresInMs = (expiryOf(record, now) ?? Infinity) - now.wallMs;
    const delays = [waitMs, expiresInMs].filter((ms) => ms > 0);
    this.#timer = setTimeout(() => this.update(), Math.min(POLL_INTERVAL_MS, ...delays.map((ms) => ms + 1)));
  }

  /**
   * Resolves once the files have the node's latest key, and programs are reloaded.
   *
   * @throws Failure if they do not get it
   */
  async settle(): Promise<void> {
    const pendingMs = (): number => msUntilActivation(this.#file.record, this.#activateAfterMs, this.#uptime.clocks());
    const deadlineAt = performance.now() + pendingMs() + SETTLE.timeoutMs;
    while (pendingMs() > 0 && performance.now() < deadlineAt) await pause(SETTLE.pollIntervalMs);
    this.update();
    while (!this.#deliverer.isSettled && performance.now() < deadlineAt) await pause(SETTLE.pollIntervalMs);
    if (this.#deliverer.isSettled) return;
    throw new Failure(this.#deliverer.fault ?? `the targets are not written within ${SETTLE.timeoutMs / 1000} s`, {
      advice: 'The log above says more. The next start of the agent tries it again.',
    });
  }

  /** Waits for pending writes, some seconds at most. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#deliverer.stop();
  }

  get telemetry(): Pick<Telemetry, 'checks' | 'metrics'> {
    return { checks: this.#deliverer.checks, metrics: this.#deliverer.metrics };
  }

  #show(node: DeliveredNode | undefined): void {
    const id = formatId(this.#file.record.state.idI);
    const kid = node?.current.kid ?? null;
    if (kid === this.#kid) return;
    if (this.#kid === undefined) this.#deliverer.replaceSnapshot(snapshotOf(id, node));
    else if (node === undefined) this.#deliverer.revoke(id, 'expired');
    else this.#deliverer.set(node);
    this.#kid = kid;
  }

  /**
   * Returns the one generation that the targets have, or `undefined` if the node has none to use.
   */
  #nodeAt(record: StoredNode, now: NodeClocks, isFormer: boolean): DeliveredNode | undefined {
    const { state, formerKey } = record;
    if (state.initial || now.wallMs > (expiryOf(record, now) ?? Infinity)) return undefined;
    if (isFormer && formerKey !== undefined) return this.#nodeWith(formerKey.applicationRoot, state.idI);
    const applicationRoot = deriveApplicationRoot(state.confirmed, state.idI);
    const node = this.#nodeWith(applicationRoot, state.idI);
    applicationRoot.wipe();
    return node;
  }

  #nodeWith(applicationRoot: Secret, idI: number): DeliveredNode {
    const keys = this.#labels.map((label) => {
      const key = deriveApplicationKey(applicationRoot, label, idI);
      const hex = Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex');
      key.fill(0);
      return [label, hex] as const;
    });
    const kid = deriveKeyId(applicationRoot, idI);
    // Without its end: the wall clock of a device may be set by years, and `update` knows better.
    const current = { kid, keys: Object.fromEntries(keys), joinedAt: 0, notAfter: undefined };
    return { id: formatId(idI), current, former: [] };
  }
}

function snapshotOf(id: string, node: DeliveredNode | undefined): KeySnapshot {
  const snapshot = new KeySnapshot();
  if (node === undefined) snapshot.revoke(id, 'expired');
  else snapshot.set(node);
  return snapshot;
}
