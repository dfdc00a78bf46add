/** All targets of a process: one snapshot of the nodes, one lock, one view from outside. */

import { join } from 'node:path';
import { readdir } from 'node:fs/promises';
import { ensurePrivateFolder, lockFolder } from '@latchkey/runtime/files';
import type { Log } from '@latchkey/runtime/daemon';
import { type Check, type Metric, samples } from '@latchkey/runtime/telemetry';
import { Journal } from './journal.js';
import type { DeliveredNode, KeySnapshot } from './key-snapshot.js';
import type { OscoreRole } from './oscore-context.js';
import { checkTargets, DeliveryMetrics, Target } from './target.js';
import type { TargetConfig } from './target-config.js';

export interface DelivererOptions {
  readonly targets: readonly TargetConfig[];
  /** For the journals; private to this process. */
  readonly folder: string;
  /** Named in a message to a second process. */
  readonly holder: string;
  /** Shortens the overlap that the source keeps, in seconds. */
  readonly overlap: number | undefined;
  readonly role: OscoreRole;
  readonly log: Log;
}

export class Deliverer {
  readonly #targets: readonly Target[];
  readonly #metrics: DeliveryMetrics;
  readonly #release: () => Promise<void>;
  #snapshot: KeySnapshot | undefined;

  private constructor(targets: readonly Target[], metrics: DeliveryMetrics, release: () => Promise<void>) {
    this.#targets = targets;
    this.#metrics = metrics;
    this.#release = release;
  }

  /**
   * Opens the journals. Nothing is written to the targets before the first snapshot.
   *
   * @throws WrongTargets
   */
  static async open({ targets, folder, holder, overlap, role, log }: DelivererOptions): Promise<Deliverer> {
    await ensurePrivateFolder(folder);
    const lock = await lockFolder(folder, holder);
    try {
      const metrics = new DeliveryMetrics();
      const opened: Target[] = [];
      for (const target of await checkTargets(targets)) {
        const journal = await Journal.open(folder, target.config.file);
        const overlapMs = overlap === undefined ? Infinity : 1_000 * overlap;
        opened.push(new Target({ target, journal, overlapMs, role, metrics, log }));
      }
      await warnOfAbandoned(folder, targets, log);
      return new Deliverer(opened, metrics, () => lock.release());
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Takes a complete snapshot in place of the one before. */
  replaceSnapshot(snapshot: KeySnapshot): void {
    this.#snapshot = snapshot;
    for (const target of this.#targets) target.replaceSnapshot(snapshot);
  }

  /** Sets the keys of a node. */
  set(node: DeliveredNode): void {
    this.#snapshot?.set(node);
    for (const target of this.#targets) target.noteChange();
  }

  /** Removes all generations of a node immediately. */
  revoke(id: string, reason: string): void {
    this.#snapshot?.revoke(id, reason);
    for (const target of this.#targets) target.noteRevocation(id, reason);
  }

  get isSettled(): boolean {
    return this.#targets.every((target) => target.isSettled);
  }

  /** Calls `listener` each time all targets have settled. */
  onSettled(listener: () => void): void {
    for (const target of this.#targets)
      target.onSettled(() => {
        if (this.isSettled) listener();
      });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#targets.map((target) => target.stop()));
    await this.#release();
  }

  get checks(): readonly Check[] {
    return [{ name: 'targets', watchdog: 'reported', run: () => this.fault, cacheMs: 0 }];
  }

  /** What fails at present, for a person. Returns `undefined` if nothing does. */
  get fault(): string | undefined {
    const faults = this.#targets.flatMap(({ fault }) => fault ?? []);
    const [first] = faults;
    return first === undefined ? undefined : `${faults.length} of ${this.#targets.length} targets fail: ${first}`;
  }

  get metrics(): readonly Metric[] {
    const { writes, reloads, revocations, delays } = this.#metrics;
    return [
      {
        type: 'counter',
        name: 'latchkey_delivery_writes_total',
        help: 'Times that the files of a target were made, by outcome; same: the disk had them already',
        labels: ['outcome'],
        read: () => samples('outcome', writes),
      },
      {
        type: 'counter',
        name: 'latchkey_delivery_reloads_total',
        help: 'Reloads of programs by outcome',
        labels: ['outcome'],
        read: () => samples('outcome', reloads),
      },
      {
        type: 'counter',
        name: 'latchkey_delivery_revocations_total',
        help: 'Runs of on_revoke by outcome',
        labels: ['outcome'],
        read: () => samples('outcome', revocations),
      },
      {
        type: 'gauge',
        name: 'latchkey_delivery_nodes',
        help: 'Nodes of the last snapshot and of the changes since, revoked ones counted',
        read: () => this.#snapshot?.size ?? 0,
      },
      {
        type: 'gauge',
        name: 'latchkey_delivery_targets_failing',
        help: 'Targets whose files, reload or on_revoke fail at present',
        read: () => this.#targets.filter(({ fault }) => fault !== undefined).length,
      },
      {
        type: 'histogram',
        name: 'latchkey_delivery_seconds',
        help: 'From the first change to files written and program reloaded',
        read: () => [{ histogram: delays }],
      },
    ];
  }
}

/** A target that was taken out of the configuration leaves a file in which no key ever changes. */
async function warnOfAbandoned(folder: string, targets: readonly TargetConfig[], log: Log): Promise<void> {
  const files = new Set(targets.map(({ file }) => file));
  for (const name of await readdir(folder)) {
    if (!/^delivered-[0-9a-f]{16}\.json$/.test(name)) continue;
    const file = await Journal.fileOf(join(folder, name));
    if (file !== undefined && !files.has(file))
      log.warn(
        { file, journal: join(folder, name), advice: 'Remove both, or put the target back.' },
        'a file of keys belongs to no target',
      );
  }
}
