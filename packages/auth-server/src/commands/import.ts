import { formatTable, withExamples } from '@latchkey/runtime/cli';
import { MANIFEST_HELP } from '@latchkey/provisioning';
import { type Advice, type CommandLine } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { type ImportMoves, importsRun } from '@latchkey/operations';
import type { ImportOutcome } from '@latchkey/operations/contract';
import {
  type DeviceKeyOptions,
  deviceKeyOptions,
  installerArgument,
  installerOfFile,
  lifetimeOption,
  manufacturerFrom,
  type OrderTextOptions,
  orderTextOptions,
  rejectBothFromStandardInput,
} from './order-options.js';
import { call, deviceKeysReader, withOperations } from './operation-call.js';
import { yieldsToDaemons } from './priority.js';
import { confirm, operationOptions, pluralize, printJson, type RegistryOptions, yesOption } from './registry-command.js';

/** Lines of a table of problems or changes; `--json` has them all. */
const MAX_TABLE_LINES = 50;

interface ImportOptions extends RegistryOptions, DeviceKeyOptions, OrderTextOptions {
  readonly lifetime: number;
  readonly installer?: string;
  readonly sharedKey?: true;
  readonly dryRun?: true;
  readonly skipBad?: true;
  readonly yes?: true;
  readonly json?: true;
}

export function importCommand(): Command {
  const command = operationOptions(
    new Command('import')
      .summary('add nodes that were ordered elsewhere, all or none, from CSV or JSON')
      .description(`add nodes that were ordered elsewhere, all or none, from ${MANIFEST_HELP}`)
      .argument('<file>', 'mode 0600: it holds initial keys; - reads standard input'),
  ).addOption(lifetimeOption());
  orderTextOptions(deviceKeyOptions(command, "the keys in <file> are the installer's halves"))
    .option('--installer <name>', 'who holds their keys (default: the name of the file)', installerArgument)
    .option('--shared-key', 'nodes may have an initial key that others have, too: whoever holds it can join as any of them')
    .option('--dry-run', 'print what would be added, changed and refused, and change nothing')
    .option('--skip-bad', 'leave out the lines that are refused instead of refusing all')
    .addOption(yesOption())
    .option('--json', 'print the result as JSON')
    .action(importFile);
  return withExamples(
    yieldsToDaemons(command),
    'latchkey-auth-server import --data ./data --dry-run nodes.csv',
    'latchkey-auth-server import --data ./data --device-keys devices.csv --manufacturer ACME nodes.csv',
    'latchkey-auth-server import --data ./data --lifetime none --installer "Kim & Sons" nodes.jsonl',
  );
}

async function importFile(file: string, options: ImportOptions): Promise<void> {
  const manufacturer = manufacturerFrom(options);
  rejectBothFromStandardInput(options.deviceKeys, file);
  await withOperations(options, async (context) => {
    const { deviceKeys, json, yes } = options;
    const readDeviceKeys = deviceKeysReader(context, deviceKeys);
    let reported: ImportOutcome | undefined;
    const report = (outcome: ImportOutcome): void => {
      reported = outcome;
      if (json !== true) printTables(outcome);
      for (const warning of outcome.warnings) process.stderr.write(`Warning: ${warning}\n`);
      if (outcome.warnings.length > 0)
        process.stderr.write('A device that is installed from this file asks at the address in the file.\n');
      const { described_otherwise: others } = outcome;
      if (others > 0)
        process.stderr.write(
          `Warning: ${pluralize(others, 'node')} in the registry ${others === 1 ? 'is' : 'are'} described otherwise than in the file, and stay${others === 1 ? 's' : ''} so (node set)\n`,
        );
    };
    const outcome = await call(
      importsRun,
      { ...context, file, decrypt: decryptAdvice(file), readDeviceKeys, report, approve: (moves) => confirmMoves(moves, yes) },
      {
        installer: options.installer ?? installerOfFile(file),
        contact: options.contact,
        site: options.site,
        lifetime_seconds: options.lifetime,
        manufacturer,
        shared_key: options.sharedKey === true,
        skip_bad: options.skipBad === true,
        dry_run: options.dryRun === true,
      },
    ).catch((error: unknown) => {
      if (reported !== undefined) printSummary(reported, json);
      throw error;
    });
    printSummary(outcome, json);
  });
}

function confirmMoves({ nodes, ways }: ImportMoves, yes: true | undefined): Promise<void> {
  const listed = [...ways].map(([way, count]) => `${count} ${way}`).join(', ');
  const move = `${pluralize(nodes, 'node')} move${nodes === 1 ? 's' : ''} to another controller (${listed})`;
  return confirm(`${move}; a device that is installed already still asks the former one. Import the file?`, yes);
}

function decryptAdvice(file: string): Advice {
  return file === '-'
    ? { advice: 'Nothing was changed. Pipe it through age -d first.' }
    : { advice: 'Nothing was changed. Decrypt it on the way:', run: [['age', '-d', file, '|', ...importOfInput(file)]] };
}

/** The command that this process runs, with standard input for its file. */
function importOfInput(file: string): CommandLine {
  return ['latchkey-auth-server', ...process.argv.slice(2).map((word) => (word === file ? '-' : word))];
}

function printTables({ additions, changes, problems }: ImportOutcome): void {
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

function printSummary(outcome: ImportOutcome, json: true | undefined): void {
  if (json === true) return printJson(outcome);
  const { done, order, added, changed, unchanged, rejected, duplicates } = outcome;
  const would = done ? '' : 'would be ';
  const twice = duplicates === 0 ? '' : `, ${pluralize(duplicates, 'duplicate line')}`;
  const as = order === null ? '' : `, as order ${order}`;
  process.stdout.write(
    `${added} ${would}added, ${changed} ${would}changed, ${unchanged} unchanged, ${rejected} rejected${twice}${as}\n`,
  );
}
