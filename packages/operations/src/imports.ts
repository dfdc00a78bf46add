/** Adds nodes that were ordered elsewhere, all or none, from a file. */

import { createHash, type Hash } from 'node:crypto';
import type { Registry } from '@latchkey/registry';
import { type Advice, UsageFailure } from '@latchkey/runtime/failure';
import * as contract from './contract/imports.js';
import type { ImportInput, ImportOutcome } from './contract/imports.js';
import { DEFAULT_GRACE, EnrolmentTransaction } from './enrolment.js';
import type { DeviceKeys } from './import/device-keys.js';
import { ImportControllers } from './import/import-controllers.js';
import { type ImportSource, inputName, noNodes } from './import/import-file.js';
import { ImportKeys, type RepeatedKeys } from './import/import-keys.js';
import { type ImportFile, openImport } from './import/import-partitions.js';
import { ImportReport, planImport } from './import/import-plan.js';
import { type Approval, type Context, implement, inTurn, type Operation, withProgress } from './operation.js';
import { orderTexts, requireHolder } from './orders.js';
import { pluralize } from './pluralize.js';

/** Nodes that move to another controller, by `from FROM to TO`. */
export interface ImportMoves {
  readonly nodes: number;
  readonly ways: ReadonlyMap<string, number>;
}

/** `approve` is asked only if nodes move. */
export interface ImportContext extends Context, Approval<ImportMoves> {
  readonly file: ImportSource;
  /** What to do about a file that is encrypted. */
  readonly decrypt: Advice;
  readonly readDeviceKeys?: (() => Promise<DeviceKeys>) | undefined;
  /** Gets what would happen to each line, before anything is refused or changed. */
  readonly report?: ((outcome: ImportOutcome, details: ImportDetails) => void | Promise<void>) | undefined;
}

/** What an import would do, beyond its outcome. */
export interface ImportDetails extends ImportMoves {
  /** Lines that are refused because another node has their key. */
  readonly sharedKeys: number;
  /**
   * Stands for what happens to each line: counts are the same if two lines change places. Absent of
   * a registry elsewhere.
   */
  readonly decisions?: string | undefined;
}

export const importsRun: Operation<ImportInput, ImportOutcome, ImportContext> = implement(
  contract.importsRun,
  async (context: ImportContext, input) => {
    const manufacturer = requireHolder(context.readDeviceKeys, input.manufacturer);
    const deviceKeys = await context.readDeviceKeys?.();
    try {
      return await importNodes(context, input, { deviceKeys, manufacturer });
    } finally {
      deviceKeys?.wipe();
    }
  },
);

/** Of split initial keys; neither is set without these. */
interface DeviceHalves {
  readonly deviceKeys: DeviceKeys | undefined;
  readonly manufacturer: string | undefined;
}

async function importNodes(
  context: ImportContext,
  input: ImportInput,
  { deviceKeys, manufacturer }: DeviceHalves,
): Promise<ImportOutcome> {
  const { registry, file } = context;
  const { installer, lifetime_seconds: lifetime, shared_key: sharedKey, dry_run: isDry } = input;
  const report = new ImportReport();
  const { rows, repeated, warnings } = await look(context, { report, deviceKeys, sharedKey });
  const split = manufacturer === undefined ? {} : { manufacturer };
  const terms = {
    kind: 'import',
    installer,
    ...orderTexts(input),
    idC: undefined,
    sharedKey,
    ...split,
    lifetime,
    grace: DEFAULT_GRACE,
  } as const;
  const decisions = createHash('sha256');
  const enrolling = isDry ? undefined : await EnrolmentTransaction.begin(registry, terms);
  try {
    await withProgress(context, 'importing', rows.length, (progress) =>
      write(registry, rows, { report, repeated, enrolling, input, decisions }, progress),
    );
    report.sort();
    // Of the shape of the contract, as every outcome is.
    const outcome = contract.importsRun.output.parse(outcomeOf(report, warnings, input, { done: false, order: undefined }));
    const nodes = [...report.moves.values()].reduce((sum, count) => sum + count, 0);
    const details = { nodes, ways: report.moves, sharedKeys: report.sharedKeys, decisions: decisions.digest('hex') };
    await context.report?.(outcome, details);
    if (!mayGoOn(report, input)) throw importRefusal(outcome, details, file);
    if (enrolling === undefined) return outcome;
    if (nodes > 0) await context.approve?.({ nodes, ways: report.moves });
    const order = await enrolling.commit(report.controllers);
    return outcomeOf(report, warnings, input, { done: true, order });
  } finally {
    await enrolling?.close();
  }
}

/** A file that has been read once. */
interface Look {
  readonly rows: ImportFile;
  readonly repeated: RepeatedKeys;
  /** About lines that are imported nevertheless. */
  readonly warnings: readonly string[];
}

interface Looking {
  readonly report: ImportReport;
  readonly deviceKeys: DeviceKeys | undefined;
  readonly sharedKey: boolean;
}

async function look(context: ImportContext, { report, deviceKeys, sharedKey }: Looking): Promise<Look> {
  const { registry, file, decrypt } = context;
  const identity = registry.initialKeyIdKey();
  const keys = sharedKey ? undefined : new ImportKeys(registry, identity);
  identity.wipe();
  const controllers = new ImportControllers(await registry.controllers());
  const rows = await openImport(file, {
    deviceKeys,
    decrypt,
    problem: (problem) => report.addRejected(problem),
    row(row) {
      keys?.add(row);
      controllers.add(row);
    },
  });
  if (rows.length + report.counts.reject === 0) throw noNodes(file);
  const repeated = keys && (await inTurn(context, () => keys.repeated(rows)));
  return { rows, repeated: repeated ?? new Map(), warnings: controllers.warnings };
}

interface Writing {
  readonly report: ImportReport;
  readonly repeated: RepeatedKeys;
  readonly enrolling: EnrolmentTransaction | undefined;
  readonly input: ImportInput;
  /** Hash of the decision on each line. */
  readonly decisions: Hash;
}

/**
 * Compares part by part. Writes the additions to a pending order, which no reader sees, unless a
 * line is rejected.
 */
async function write(
  registry: Registry,
  rows: ImportFile,
  { report, repeated, enrolling, input, decisions }: Writing,
  progress: (done: number) => void,
): Promise<void> {
  for await (const batch of rows.partitions()) {
    try {
      const listAdditions = input.dry_run;
      const plan = await planImport(registry, batch, { changedBefore: report.counts.change, listAdditions, repeated });
      report.merge(plan);
      decisions.update(plan.decisions);
      const [action, judged] = [(i: number) => plan.actionFor(i), (i: number) => plan.judgedAs(i)];
      if (mayGoOn(report, input)) await enrolling?.add(batch, { action, judged, progress });
    } finally {
      batch.wipe();
    }
  }
}

function mayGoOn(report: ImportReport, { skip_bad: skipBad }: ImportInput): boolean {
  return report.counts.reject === 0 || skipBad;
}

/** Of an import whose lines are not all taken. */
export function importRefusal(
  { rejected, dry_run: isDry }: ImportOutcome,
  { sharedKeys }: Pick<ImportDetails, 'sharedKeys'>,
  file: ImportSource,
): UsageFailure {
  const are = isDry ? 'would be' : rejected === 1 ? 'is' : 'are';
  const share = sharedKeys === 0 ? '' : ' Where nodes are to share an initial key, say --shared-key.';
  return new UsageFailure(`${pluralize(rejected, 'line')} of ${nameIn(file)} ${are} refused; nothing was changed`, {
    advice: `Put them right, or leave them out with --skip-bad.${share}`,
  });
}

function nameIn(file: ImportSource): string {
  return typeof file === 'string' ? file : inputName(file);
}

function outcomeOf(
  { counts, additions, changes, problems, otherTexts }: ImportReport,
  warnings: readonly string[],
  { dry_run }: ImportInput,
  { done, order }: { readonly done: boolean; readonly order: number | undefined },
): ImportOutcome {
  const { add: added, change: changed, unchanged, duplicate: duplicates, reject: rejected } = counts;
  const totals = { added, changed, unchanged, duplicates, rejected };
  return {
    dry_run,
    done,
    order: order ?? null,
    ...totals,
    described_otherwise: otherTexts,
    additions,
    changes,
    problems,
    warnings,
  };
}
