import { formatTable, UsageFailure, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import { DEFAULT_GRACE, Enrolling } from '../enrolment.js';
import { type ImportFile, openImport } from '../import-parts.js';
import { ImportReport, planImport } from '../import-plan.js';
import { withProgress } from '../progress.js';
import type { Registry } from '../registry.js';
import { installerArgument, installerOfFile, lifetimeOption } from './order-terms.js';
import { counted, printJson, registryOptions, type RegistryOptions, withRegistry } from './with-registry.js';

/** Lines of a table of problems or changes; `--json` has them all. */
const SHOWN = 50;

interface ImportOptions extends RegistryOptions {
  readonly lifetime: number;
  readonly installer?: string;
  readonly dryRun?: true;
  readonly skipBad?: true;
  readonly json?: true;
}

export function importCommand(): Command {
  const command = registryOptions(
    new Command('import')
      .description(
        'add nodes that were ordered elsewhere, all or none: CSV with the header id,controller_id,controller,ik, or JSON Lines with those names',
      )
      .argument('<file>', 'mode 0600: it holds initial keys; - reads standard input'),
  )
    .addOption(lifetimeOption())
    .option('--installer <name>', 'who holds their keys (default: the name of the file)', installerArgument)
    .option('--dry-run', 'tell what would be added, changed and refused, and change nothing')
    .option('--skip-bad', 'leave out the lines that are refused instead of refusing all')
    .option('--json', 'tell of it as JSON')
    .action(importFile);
  return withExamples(
    command,
    'latchkey-auth-server import --data ./data --dry-run nodes.csv',
    'latchkey-auth-server import --data ./data --lifetime none --installer "Kim & Sons" nodes.jsonl',
  );
}

async function importFile(file: string, options: ImportOptions): Promise<void> {
  await withRegistry(options, async (registry) => {
    const report = new ImportReport();
    const input = await openImport(file, (problem) => report.refuse(problem));
    if (input.length + report.counts.refuse === 0) {
      throw new UsageFailure(`${file === '-' ? 'standard input' : file} has no nodes in it`, {
        advice: 'Nothing was changed. Expected a line for each below the header, or JSON Lines.',
      });
    }
    const order = await withProgress('importing', input.length, (progress) =>
      run(registry, file, input, report, options, progress),
    );
    report.sort();
    const refused = report.counts.refuse > 0 && options.skipBad !== true;
    tell(report, order, options, options.dryRun !== true && !refused);
    if (refused) {
      const are = options.dryRun === true ? 'would be' : report.counts.refuse === 1 ? 'is' : 'are';
      throw new UsageFailure(`${counted(report.counts.refuse, 'line')} of ${file} ${are} refused; nothing was changed`, {
        advice: 'Put them right, or leave them out with --skip-bad.',
      });
    }
  });
}

/** Compares part by part, and writes it unless something is refused. Gives the number of the order, if nodes were added. */
async function run(
  registry: Registry,
  file: string,
  input: ImportFile,
  report: ImportReport,
  options: ImportOptions,
  progress: (done: number) => void,
): Promise<number | undefined> {
  const { lifetime, installer = installerOfFile(file) } = options;
  const terms = { kind: 'import', installer, idC: undefined, sharedKey: false, lifetime, grace: DEFAULT_GRACE } as const;
  const enrolling = options.dryRun === true ? undefined : await Enrolling.begin(registry, terms);
  const mayGoOn = (): boolean => report.counts.refuse === 0 || options.skipBad === true;
  try {
    for await (const batch of input.parts()) {
      const plan = planImport(registry, batch, { changedBefore: report.counts.change, naming: options.dryRun === true });
      report.take(plan);
      if (mayGoOn()) await enrolling?.add(batch, (i) => plan.verdict(i), progress);
      batch.wipe();
    }
    return mayGoOn() ? await enrolling?.finish(report.controllers) : undefined;
  } finally {
    await enrolling?.end();
  }
}

function tell(
  { counts, additions, changes, problems }: ImportReport,
  order: number | undefined,
  { json, dryRun }: ImportOptions,
  done: boolean,
): void {
  const { add, change, unchanged, refuse } = counts;
  if (json === true) {
    return printJson({
      dry_run: dryRun === true,
      done,
      order: order ?? null,
      added: add,
      changed: change,
      unchanged,
      refused: refuse,
      additions,
      changes,
      problems,
    });
  }
  for (const [title, lines] of [
    ['ADDED', additions.map((addition) => ({ ...addition, reason: '' }))],
    ['CHANGED', changes],
    ['REFUSED', problems],
  ] as const) {
    if (lines.length === 0) continue;
    process.stdout.write(
      formatTable(
        ['LINE', 'ID', title],
        lines.slice(0, SHOWN).map(({ line, id, reason }) => [String(line), id ?? '-', reason]),
      ),
    );
    if (lines.length > SHOWN) process.stdout.write(`and ${lines.length - SHOWN} more; --json has them all\n`);
    process.stdout.write('\n');
  }
  const would = done ? '' : 'would be ';
  const as = order === undefined ? '' : `, as order ${order}`;
  process.stdout.write(`${add} ${would}added, ${change} ${would}changed, ${unchanged} unchanged, ${refuse} refused${as}\n`);
}
