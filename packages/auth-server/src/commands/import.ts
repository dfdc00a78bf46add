import { formatTable, withExamples } from '@latchkey/runtime/cli';
import { MANIFEST_HELP } from '@latchkey/provisioning';
import { type CommandLine, UsageFailure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import {
  DEFAULT_GRACE,
  EnrolmentTransaction,
  DeviceKeys,
  ImportControllers,
  inputName,
  ImportKeys,
  type RepeatedKeys,
  type ImportFile,
  openImport,
  ImportReport,
  planImport,
} from '@latchkey/operations';
import { type Registry } from '@latchkey/registry';
import { withProgress } from './progress.js';
import {
  type DeviceKeyOptions,
  deviceKeyOptions,
  installerArgument,
  installerOfFile,
  lifetimeOption,
  manufacturerFrom,
  rejectBothFromStandardInput,
} from './order-options.js';
import {
  confirm,
  pluralize,
  printJson,
  registryOptions,
  type RegistryOptions,
  withRegistry,
  yesOption,
} from './registry-command.js';

/** Lines of a table of problems or changes; `--json` has them all. */
const MAX_TABLE_LINES = 50;

interface ImportOptions extends RegistryOptions, DeviceKeyOptions {
  readonly lifetime: number;
  readonly installer?: string;
  readonly sharedKey?: true;
  readonly dryRun?: true;
  readonly skipBad?: true;
  readonly yes?: true;
  readonly json?: true;
}

export function importCommand(): Command {
  const command = registryOptions(
    new Command('import')
      .summary('add nodes that were ordered elsewhere, all or none, from CSV or JSON')
      .description(`add nodes that were ordered elsewhere, all or none, from ${MANIFEST_HELP}`)
      .argument('<file>', 'mode 0600: it holds initial keys; - reads standard input'),
  ).addOption(lifetimeOption());
  deviceKeyOptions(command, "the keys in <file> are the installer's halves")
    .option('--installer <name>', 'who holds their keys (default: the name of the file)', installerArgument)
    .option('--shared-key', 'nodes may have an initial key that others have, too: whoever holds it can join as any of them')
    .option('--dry-run', 'tell what would be added, changed and refused, and change nothing')
    .option('--skip-bad', 'leave out the lines that are refused instead of refusing all')
    .addOption(yesOption())
    .option('--json', 'tell of it as JSON')
    .action(importFile);
  return withExamples(
    command,
    'latchkey-auth-server import --data ./data --dry-run nodes.csv',
    'latchkey-auth-server import --data ./data --device-keys devices.csv --manufacturer ACME nodes.csv',
    'latchkey-auth-server import --data ./data --lifetime none --installer "Kim & Sons" nodes.jsonl',
  );
}

async function importFile(file: string, options: ImportOptions): Promise<void> {
  const manufacturer = manufacturerFrom(options);
  rejectBothFromStandardInput(options.deviceKeys, file);
  await withRegistry(options, async (registry) => {
    const report = new ImportReport();
    const deviceKeys = options.deviceKeys === undefined ? undefined : await DeviceKeys.read(registry, options.deviceKeys);
    const { input, repeated, warnings } = await look(registry, file, { report, deviceKeys, options });
    const { lifetime, installer = installerOfFile(file), dryRun, sharedKey = false } = options;
    const split = manufacturer === undefined ? {} : { manufacturer };
    const terms = { kind: 'import', installer, idC: undefined, sharedKey, ...split, lifetime, grace: DEFAULT_GRACE } as const;
    const enrolling = dryRun === true ? undefined : await EnrolmentTransaction.begin(registry, terms);
    try {
      await withProgress('importing', input.length, (progress) =>
        write(registry, input, { report, repeated, enrolling, options }, progress),
      );
      report.sort();
      if (options.json !== true) printTables(report);
      for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`);
      if (warnings.length > 0)
        process.stderr.write('A device that is installed from this file asks at the address in the file.\n');
      const order = await finish(file, enrolling, report, options).catch((error: unknown) => {
        printSummary(report, warnings, options, { done: false, order: undefined });
        throw error;
      });
      printSummary(report, warnings, options, { done: enrolling !== undefined, order });
    } finally {
      await enrolling?.close();
      deviceKeys?.wipe();
    }
  });
}

/** A file that has been read once. */
interface Look {
  readonly input: ImportFile;
  readonly repeated: RepeatedKeys;
  /** About lines that are imported nevertheless. */
  readonly warnings: readonly string[];
}

interface Looking {
  readonly report: ImportReport;
  readonly deviceKeys: DeviceKeys | undefined;
  readonly options: ImportOptions;
}

async function look(registry: Registry, file: string, { report, deviceKeys, options: { sharedKey } }: Looking): Promise<Look> {
  const identity = registry.initialKeyIdKey();
  const keys = sharedKey === true ? undefined : new ImportKeys(registry, identity);
  identity.wipe();
  const controllers = new ImportControllers(registry);
  const input = await openImport(file, {
    deviceKeys,
    decrypt:
      file === '-'
        ? { advice: 'Nothing was changed. Pipe it through age -d first.' }
        : { advice: 'Nothing was changed. Decrypt it on the way:', run: [['age', '-d', file, '|', ...importOfInput(file)]] },
    problem: (problem) => report.addRejected(problem),
    row(row) {
      keys?.add(row);
      controllers.add(row);
    },
  });
  if (input.length + report.counts.reject === 0) {
    throw new UsageFailure(`${inputName(file)} has no nodes in it`, {
      advice: 'Nothing was changed. Expected a line for each below the header, or JSON with an object for each.',
    });
  }
  return { input, repeated: (await keys?.repeated(input)) ?? new Map(), warnings: controllers.warnings };
}

/** The command that this process runs, with standard input for its file. */
function importOfInput(file: string): CommandLine {
  return ['latchkey-auth-server', ...process.argv.slice(2).map((word) => (word === file ? '-' : word))];
}

interface Writing {
  readonly report: ImportReport;
  readonly repeated: RepeatedKeys;
  readonly enrolling: EnrolmentTransaction | undefined;
  readonly options: ImportOptions;
}

/**
 * Compares part by part, and writes what is added where nobody sees it, unless something is
 * refused.
 */
async function write(
  registry: Registry,
  input: ImportFile,
  { report, repeated, enrolling, options }: Writing,
  progress: (done: number) => void,
): Promise<void> {
  for await (const batch of input.partitions()) {
    const naming = options.dryRun === true;
    const plan = planImport(registry, batch, { changedBefore: report.counts.change, listAdditions: naming, repeated });
    report.merge(plan);
    if (mayGoOn(report, options)) await enrolling?.add(batch, (i) => plan.actionFor(i), progress);
    batch.wipe();
  }
}

function mayGoOn(report: ImportReport, { skipBad }: ImportOptions): boolean {
  return report.counts.reject === 0 || skipBad === true;
}

/**
 * Shows what was written, and makes the changes. Gives the number of the order, if nodes were
 * added.
 */
async function finish(
  file: string,
  enrolling: EnrolmentTransaction | undefined,
  report: ImportReport,
  options: ImportOptions,
): Promise<number | undefined> {
  if (!mayGoOn(report, options)) {
    const are = enrolling === undefined ? 'would be' : report.counts.reject === 1 ? 'is' : 'are';
    const share = report.sharedKeys === 0 ? '' : ' Where nodes are to share an initial key, say --shared-key.';
    throw new UsageFailure(`${pluralize(report.counts.reject, 'line')} of ${file} ${are} refused; nothing was changed`, {
      advice: `Put them right, or leave them out with --skip-bad.${share}`,
    });
  }
  if (enrolling === undefined) return undefined;
  const moving = [...report.moves.values()].reduce((sum, count) => sum + count, 0);
  if (moving > 0) {
    const ways = [...report.moves].map(([way, count]) => `${count} ${way}`).join(', ');
    const move = `${pluralize(moving, 'node')} move${moving === 1 ? 's' : ''} to another controller (${ways})`;
    await confirm(`${move}; a device that is installed already still asks the former one. Import the file?`, options.yes);
  }
  return enrolling.commit(report.controllers);
}

function printTables({ additions, changes, problems }: ImportReport): void {
  for (const [title, lines] of [
    ['ADDED', additions.map((addition) => ({ ...addition, reason: '' }))],
    ['CHANGED', changes],
    ['REJECTED', problems],
  ] as const) {
    if (lines.length === 0) continue;
    process.stdout.write(
      formatTable(
        ['LINE', 'ID', title],
        lines.slice(0, MAX_TABLE_LINES).map(({ line, id, reason }) => [String(line), id ?? '-', reason]),
      ),
    );
    if (lines.length > MAX_TABLE_LINES) process.stdout.write(`and ${lines.length - MAX_TABLE_LINES} more; --json has them all\n`);
    process.stdout.write('\n');
  }
}

function printSummary(
  { counts, additions, changes, problems }: ImportReport,
  warnings: readonly string[],
  { json, dryRun }: ImportOptions,
  { done, order }: { readonly done: boolean; readonly order: number | undefined },
): void {
  const { add, change, unchanged, duplicate, reject } = counts;
  if (json === true) {
    return printJson({
      dry_run: dryRun === true,
      done,
      order: order ?? null,
      added: add,
      changed: change,
      unchanged,
      duplicates: duplicate,
      rejected: reject,
      additions,
      changes,
      problems,
      warnings,
    });
  }
  const would = done ? '' : 'would be ';
  const twice = duplicate === 0 ? '' : `, ${pluralize(duplicate, 'duplicate line')}`;
  const as = order === undefined ? '' : `, as order ${order}`;
  process.stdout.write(
    `${add} ${would}added, ${change} ${would}changed, ${unchanged} unchanged, ${reject} rejected${twice}${as}\n`,
  );
}
