/**
 * One entry of `targets:` at work: keys in its files, its program reloaded, revocations notified.
 * Each run does all of it from the start, and each step does nothing if it was done already. A run
 * that fails, or that a crash ends, is therefore simply repeated.
 */

import { createHash, randomBytes } from 'node:crypto';
import type { ConfigProblem } from '@latchkey/runtime/config';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { readPlainFile } from '@latchkey/runtime/files';
import { Histogram, LabelledCounter } from '@latchkey/runtime/telemetry';
import type { Log } from '@latchkey/runtime/daemon';
import { type Account, findAccount } from './account.js';
import { findProgram, runProgram } from './command.js';
import type { Journal } from './journal.js';
import type { Generation, KeySnapshot } from './key-snapshot.js';
import { type OscoreContext, oscoreContexts, type OscoreRole } from './oscore-context.js';
import { renderFile } from './render.js';
import type { TargetConfig } from './target-config.js';
import { type Access, writeContextsAsOwner, writeFileAsOwner } from './target-writer.js';
import { RevocationHooks } from './revocation-hooks.js';
import { Template } from './template.js';
import { assertTrusted } from './trusted-path.js';
import { WrongTargets } from './wrong-targets.js';

/** A run that failed is repeated after 1 s, then after twice as long each time, in ms. */
const RETRY = { firstMs: 1_000, maxMs: 60_000 } as const;
/** A wall clock may be set: deadlines are compared with it at least so often, in ms. */
const POLL_INTERVAL_MS = 60_000;
/** What runs when the process stops may finish for so long, in ms. */
const STOP_GRACE_MS = 5_000;

/** A target whose configuration was checked: accounts are numbers, templates are parsed. */
export interface CheckedTarget {
  readonly config: TargetConfig;
  readonly field: string;
  readonly owner: Account | undefined;
  readonly runAs: Account | undefined;
  readonly templates: ReadonlyMap<string, Template>;
}

/**
 * Checks all of the targets that the schema cannot see.
 *
 * @throws WrongTargets that names every problem
 */
export async function checkTargets(targets: readonly TargetConfig[]): Promise<readonly CheckedTarget[]> {
  const problems: ConfigProblem[] = [];
  const checked: CheckedTarget[] = [];
  for (const [index, config] of targets.entries()) checked.push(await checkTarget(config, index, problems));
  if (problems.length > 0) throw new WrongTargets(problems);
  return checked;
}

/** @param problems receives the faults */
async function checkTarget(config: TargetConfig, index: number, problems: ConfigProblem[]): Promise<CheckedTarget> {
  const field = `targets.${index}`;
  const check = async <T>(names: readonly PropertyKey[], use: (field: string) => Promise<T>): Promise<T | undefined> => {
    const path = ['targets', index, ...names];
    const name = path.map(String).join('.');
    try {
      return await use(name);
    } catch (error) {
      if (!(error instanceof UsageFailure)) throw error;
      const { message, advice } = error;
      problems.push({ field: path, says: message.startsWith(name) ? message : `${name}: ${message}`, advice });
      return undefined;
    }
  };
  const account = (text: string | undefined, name: string): Promise<Account | undefined> | undefined =>
    text === undefined ? undefined : check([name], (field) => findAccount(text, field));
  const templates = new Map<string, Template>();
  const paths = [
    ...(config.template === undefined ? [] : [{ path: config.template, names: ['template'] }]),
    ...config.also.map(({ template }, at) => ({ path: template, names: ['also', at, 'template'] })),
  ];
  for (const { path, names } of paths) {
    await check(names, async () => {
      await assertTrusted(path, 'the template');
      templates.set(path, Template.parse(await readPlainFile(path), path));
    });
  }
  for (const name of ['reload', 'on_revoke'] as const) {
    const [program] = config[name] ?? [];
    if (program !== undefined) await check([name], (field) => findProgram(program, field));
  }
  return {
    config,
    field,
    owner: await account(config.owner, 'owner'),
    runAs: await account(config.run_as, 'run_as'),
    templates,
  };
}

/** Numbers of all targets of a process. */
export class DeliveryMetrics {
  readonly writes: LabelledCounter<'changed' | 'same' | 'failed'> = new LabelledCounter(['changed', 'same', 'failed']);
  readonly reloads: LabelledCounter<'ok' | 'failed'> = new LabelledCounter(['ok', 'failed']);
  readonly revocations: LabelledCounter<'notified' | 'failed'> = new LabelledCounter(['notified', 'failed']);
  /** From the first change to the end of the reload. */
  readonly delays: Histogram = new Histogram();
}

export interface TargetOptions {
  readonly target: CheckedTarget;
  readonly journal: Journal;
  readonly overlapMs: number;
  readonly role: OscoreRole;
  readonly metrics: DeliveryMetrics;
  readonly log: Log;
  /** ms since the epoch. */
  readonly now?: () => number;
}

interface FileContents {
  /** In the order in which they are written. */
  readonly files: readonly { readonly file: string; readonly text: string }[];
  /** Of all that is written, with owner and mode. */
  readonly digest: string;
}

interface ContextContents {
  readonly contexts: readonly OscoreContext[];
  readonly digest: string;
}

/** What a target writes. */
type Contents = FileContents | ContextContents;

export class Target {
  readonly #options: TargetOptions;
  readonly #now: () => number;
  readonly #placeholder = randomBytes(16).toString('hex');
  #snapshot: KeySnapshot | undefined;
  /** Nodes that were revoked since the last run began, even if they have a key again. */
  #revoked = new Map<string, string>();
  #firstChangeAt: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  /** The timer gathers changes. Nothing else may wait for more of them. */
  #isPostponable = false;
  #running: Promise<void> | undefined;
  /** When the files change by themselves, in ms since the epoch: a generation is over. */
  #nextDeadline = Infinity;
  #failures = 0;
  #fault: string | undefined;
  /** Nodes of which a file has a key, or will have one. */
  #wanted: ReadonlySet<string> = new Set();
  readonly #hooks: RevocationHooks;
  readonly #stopping = new AbortController();
  #isStopped = false;
  #onIdle: (() => void) | undefined;

  constructor(options: TargetOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#hooks = new RevocationHooks({
      ...options,
      outcomes: options.metrics.revocations,
      signal: this.#stopping.signal,
      isGivenOut: (id) => this.#wanted.has(id),
      onIdle: () => this.#tellIfSettled(),
    });
  }

  /** What fails at present, for a person. Returns `undefined` if nothing does. */
  get fault(): string | undefined {
    return this.#fault ?? this.#hooks.fault;
  }

  /**
   * True if the files are made of the snapshot as it is, the program was reloaded, and revocations
   * are notified.
   */
  get isSettled(): boolean {
    return this.#firstChangeAt === undefined && this.#running === undefined && this.#hooks.isIdle;
  }

  /** Calls `listener` each time the target settles. */
  onSettled(listener: () => void): void {
    this.#onIdle = listener;
  }

  /** Replaces the snapshot by a complete one. The files follow immediately. */
  replaceSnapshot(snapshot: KeySnapshot): void {
    this.#snapshot = snapshot;
    this.#firstChangeAt ??= performance.now();
    this.#schedule(0);
  }

  /** Notes a new key in the snapshot. The files follow once no other came for `debounce`. */
  noteChange(): void {
    if (this.#snapshot === undefined) return;
    const { debounce, max_wait: maxWait } = this.#options.target.config;
    const now = performance.now();
    this.#firstChangeAt ??= now;
    if (this.#failures > 0 || this.#running !== undefined) return;
    const latest = this.#firstChangeAt + 1_000 * maxWait;
    this.#schedule(Math.min(1_000 * debounce, Math.max(0, latest - now)), true);
  }

  /** Records that a node lost its key. The files follow immediately. */
  noteRevocation(id: string, reason: string): void {
    this.#revoked.set(id, reason);
    if (this.#snapshot === undefined) return;
    this.#firstChangeAt ??= performance.now();
    this.#schedule(0);
  }

  /** Waits for the current run, and ends its program after some seconds. No other run begins. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    const timer = setTimeout(() => this.#stopping.abort(), STOP_GRACE_MS);
    await Promise.all([this.#running, this.#hooks.stop()]);
    clearTimeout(timer);
  }

  /** @param gathers a later change may postpone it */
  #schedule(delayMs: number, gathers = false): void {
    if (this.#isStopped || this.#running !== undefined) return;
    const at = performance.now() + delayMs;
    if (at >= this.#timerAt && !(gathers && this.#isPostponable)) return;
    clearTimeout(this.#timer);
    this.#isPostponable = gathers;
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#start(), delayMs);
  }

  #start(): void {
    this.#timerAt = Infinity;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#scheduleNext();
      this.#tellIfSettled();
    });
  }

  #tellIfSettled(): void {
    if (this.isSettled) this.#onIdle?.();
  }

  #scheduleNext(): void {
    if (this.#failures > 0) return this.#schedule(Math.min(RETRY.firstMs * 2 ** (this.#failures - 1), RETRY.maxMs));
    if (this.#firstChangeAt !== undefined)
      return this.#revoked.size > 0 ? this.#schedule(0) : this.#schedule(1_000 * this.#options.target.config.debounce, true);
    if (this.#nextDeadline < Infinity) this.#schedule(Math.min(Math.max(0, this.#nextDeadline - this.#now()), POLL_INTERVAL_MS));
  }

  async #run(): Promise<void> {
    const { field, config } = this.#options.target;
    const changedAt = this.#firstChangeAt;
    const revoked = this.#revoked;
    this.#firstChangeAt = undefined;
    this.#revoked = new Map();
    try {
      await this.#deliver(revoked);
      if (changedAt !== undefined) this.#options.metrics.delays.observeSince(changedAt);
      if (this.#fault !== undefined) this.#options.log.info({ file: config.file }, `${field} is delivered again`);
      this.#fault = undefined;
      this.#failures = 0;
    } catch (error) {
      // What is not done stays due, and is done with the next run.
      this.#firstChangeAt ??= changedAt ?? performance.now();
      for (const [id, reason] of revoked) this.#revoked.set(id, reason);
      this.#failures += 1;
      this.#tell(error);
    }
  }

  #tell(error: unknown): void {
    const { field, config } = this.#options.target;
    const message = error instanceof Error ? error.message : String(error);
    const isNews = message !== this.#fault;
    this.#fault = message;
    const advice = error instanceof Failure ? error.advice : undefined;
    if (isNews) this.#options.log.error({ file: config.file, advice, failures: this.#failures }, `${field}: ${message}`);
  }

  async #deliver(revoked: ReadonlyMap<string, string>): Promise<void> {
    const { journal, overlapMs, target } = this.#options;
    const { config } = target;
    const now = this.#now();
    const withFormer = config.identity === '{id}@{kid}';
    const generations = this.#snapshot?.generations({ withFormer, overlapMs, now }) ?? [];
    this.#nextDeadline = generations.reduce((least, { until }) => Math.min(least, until), Infinity);
    const nodes = new Set(generations.map(({ id }) => id));
    this.#wanted = nodes;
    await journal.add(nodes);
    const contents = this.#render(generations);
    await this.#write(contents);
    await this.#reload(contents.digest);
    await this.#notifyRevoked(nodes, revoked);
  }

  /** Throws a RangeError if a key is not hexadecimal. */
  #render(generations: readonly Generation[]): Contents {
    const { config, owner, templates } = this.#options.target;
    const hash = createHash('sha256').update(JSON.stringify([config.mode, owner]));
    if (config.format === 'oscore') {
      // A program may identify the newest context by its time, even if all are created together.
      const contexts = oscoreContexts(generations, this.#options.role).toReversed();
      hash.update(contexts.map(({ name }) => name).join('\n')).update('\0');
      return { contexts, digest: hash.digest('hex') };
    }
    const options = { label: config.label ?? '', identity: config.identity, placeholder: this.#placeholder };
    // The file that names users is written last, so that their rights exist before they do.
    const files = [
      ...config.also.map(({ file, template }) => ({ file, format: 'template' as const, template: templates.get(template) })),
      { file: config.file, format: config.format, template: templates.get(config.template ?? '') },
    ].map(({ file, format, template }) => ({ file, text: renderFile(generations, { ...options, format, template }) }));
    for (const { text } of files) hash.update(text).update('\0');
    return { files, digest: hash.digest('hex') };
  }

  async #write(contents: Contents): Promise<void> {
    const { metrics } = this.#options;
    try {
      metrics.writes.increment((await this.#writeChanged(contents)) ? 'changed' : 'same');
    } catch (error) {
      metrics.writes.increment('failed');
      throw error;
    }
  }

  /**
   * Reloads the program even if it had these keys before, if a file with them was lost, as in /run
   * after a boot. The program found no file at its start. The loss is recorded before the file is
   * created, because afterwards nothing shows it.
   */
  async #writeChanged(contents: Contents): Promise<boolean> {
    const { journal } = this.#options;
    if (journal.reloaded === contents.digest) {
      if (!(await this.#writeContents(contents, true))) return false;
      await journal.setReloaded(undefined);
    }
    return this.#writeContents(contents, false);
  }

  /** @param onlyCompare nothing is written; returns whether anything would be */
  async #writeContents(contents: Contents, onlyCompare: boolean): Promise<boolean> {
    const { config, owner } = this.#options.target;
    const access: Access = { owner, mode: config.mode, onlyCompare };
    if ('contexts' in contents) {
      const { changed, reused } = await writeContextsAsOwner(config.file, contents.contexts, access);
      if (reused > 0) this.#warnOfReuse(reused);
      return changed;
    }
    let isAnyChanged = false;
    for (const { file, text } of contents.files) {
      const { changed } = await writeFileAsOwner(file, text, access);
      isAnyChanged ||= changed;
    }
    return isAnyChanged;
  }

  #warnOfReuse(contexts: number): void {
    const { config } = this.#options.target;
    this.#options.log.warn(
      { file: config.file, contexts, advice: 'The nodes have a context again once they renew their keys.' },
      'OSCORE contexts were retired and are wanted again: they are not made twice',
    );
  }

  /** The file may have been written by a process that ended before it reloaded the program. */
  async #reload(digest: string): Promise<void> {
    const { journal, metrics, target } = this.#options;
    const { config, field, runAs } = target;
    if (journal.reloaded === digest) return;
    if (config.reload !== undefined) {
      try {
        await runProgram({ words: config.reload, runAs, signal: this.#stopping.signal }, `${field}.reload`, {
          LATCHKEY_FILE: config.file,
        });
      } catch (error) {
        metrics.reloads.increment('failed');
        throw error;
      }
      metrics.reloads.increment('ok');
      this.#options.log.info({ file: config.file }, 'reloaded with new keys');
    }
    await journal.setReloaded(digest);
  }

  /** Has `on_revoke` run for each node that was given out and is no longer, or that was revoked. */
  async #notifyRevoked(nodes: ReadonlySet<string>, revoked: ReadonlyMap<string, string>): Promise<void> {
    const { journal, target } = this.#options;
    const gone = [...journal.nodes].filter((id) => !nodes.has(id));
    if (target.config.on_revoke === undefined) return journal.remove(new Set(gone));
    for (const id of gone) this.#hooks.add(id, revoked.get(id) ?? this.#snapshot?.reasonFor(id) ?? 'gone', revoked.has(id));
    for (const [id, reason] of revoked) if (nodes.has(id)) this.#hooks.add(id, reason, true);
  }
}
