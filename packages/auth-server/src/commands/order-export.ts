import { createFile, isTaken } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { withExamples } from '@latchkey/runtime/cli';
import { LABEL_FORMATS, type LabelFormat } from '@latchkey/provisioning/label-formats';
import { Command, Option } from 'commander';
import { type KeyOutput, ordersExport, ordersLabels } from '@latchkey/operations';
import { ManifestOutput, type ManifestOutputOptions, manifestOutputOptions } from './manifest-output.js';
import { labelSheet } from './label-sheet.js';
import { INSTALLER_HALVES, withOrderNumber } from './order-options.js';
import { pluralize, type RegistryOptions } from './registry-command.js';
import { call, withOperations } from './operation-call.js';
import { yieldsToDaemons } from './priority.js';
import { withStoredRecipients } from './stored-recipients.js';

export function exportCommand(): Command {
  const command = manifestOutputOptions(
    withOrderNumber(
      new Command('export').description('write the manifest of an order once more, of the nodes that have not joined'),
    ),
  ).action(exportOrder);
  return withExamples(
    yieldsToDaemons(command),
    'latchkey-auth-server order export 1 --data ./data --out ./for-kim-again',
    'latchkey-auth-server order export 1 --data ./data --out ./for-kim-again --passphrase-file -',
    'latchkey-auth-server order export 1 --data ./data --out ./for-kim-again --to-installer "Kim & Sons"',
  );
}

async function exportOrder(order: number, options: RegistryOptions & ManifestOutputOptions): Promise<void> {
  let output: ManifestOutput | undefined;
  const { count, split } = await withOperations(options, async (context) => {
    const readers = await withStoredRecipients(context, options);
    const openOutput = async (): Promise<KeyOutput> => (output = await ManifestOutput.prepare(readers));
    return call(ordersExport, { ...context, openOutput }, { order });
  });
  process.stdout.write(
    `${pluralize(count, 'node')} of order ${order} have not joined.\n${output?.advice}\n${split ? INSTALLER_HALVES : ''}`,
  );
}

export function labelsCommand(): Command {
  const command = withOrderNumber(
    new Command('labels').description('write a sheet to print, with a QR code for each node that has not joined'),
  )
    .addOption(
      new Option('--format <format>', 'the paper: a4 and letter are cut, the others peel off')
        .choices(LABEL_FORMATS)
        .default('a4'),
    )
    .requiredOption('--out <file.html>', 'mode 0600: the codes hold the initial keys; must not exist')
    .action(labels);
  return withExamples(
    command,
    'latchkey-auth-server order labels 1 --data ./data --out labels.html',
    'latchkey-auth-server order labels 1 --data ./data --format avery-l7160 --out labels.html',
    'latchkey-auth-server order labels 1 --data ./data --format roll-62 --out labels.html',
  );
}

interface LabelOptions extends RegistryOptions {
  readonly format: LabelFormat;
  readonly out: string;
}

async function labels(number: number, { out, format, ...options }: LabelOptions): Promise<void> {
  if (await isTaken(out))
    throw new UsageFailure(`${out} exists already`, { advice: 'Nothing was changed. Choose another name.' });
  const { count, split } = await withOperations(options, (context) =>
    call(
      ordersLabels,
      { ...context, writeSheet: (lines, order) => createFile(out, labelSheet(lines, order, format)) },
      { order: number },
    ),
  );
  process.stdout.write(
    `Labels of ${pluralize(count, 'node')} are in ${out}: print it with a browser at 100 %, then delete it. They hold the initial keys.\n${split ? INSTALLER_HALVES : ''}`,
  );
}
