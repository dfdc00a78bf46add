import { createFile, exists } from '@latchkey/runtime/files';
import type { ManifestLine } from '@latchkey/provisioning';
import { UsageFailure } from '@latchkey/runtime/failure';
import { withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { requireOrder, recordExport, remainingManifest } from '@latchkey/operations';
import { ManifestOutput, type ManifestOutputOptions, manifestOutputOptions } from './manifest-output.js';
import { labelSheet } from './label-sheet.js';
import type { Registry } from '@latchkey/registry';
import { freeName } from './next-steps.js';
import { INSTALLER_HALVES, withOrderNumber } from './order-options.js';
import { pluralize, type RegistryOptions, withRegistry } from './registry-command.js';

/** Labels on one sheet at most: some 500 pages, 30 MB. */
const MAX_LABELS = 10_000;

export function exportCommand(): Command {
  const command = manifestOutputOptions(
    withOrderNumber(
      new Command('export').description('write the manifest of an order once more, of the nodes that have not joined'),
    ),
  ).action(exportOrder);
  return withExamples(
    command,
    'latchkey-auth-server order export 1 --data ./data --out ./for-kim-again',
    'latchkey-auth-server order export 1 --data ./data --out ./for-kim-again --passphrase-file -',
  );
}

async function exportOrder(number: number, options: RegistryOptions & ManifestOutputOptions): Promise<void> {
  await withRegistry(options, async (registry) => {
    const lines = remainingNodes(registry, number);
    const output = await ManifestOutput.prepare(options);
    await recordExport(registry, number, lines.length, output.recipients === undefined ? 'manifest' : 'encrypted manifest');
    await output.write(lines);
    process.stdout.write(
      `${pluralize(lines.length, 'node')} of order ${number} have not joined.\n${output.advice}\n${halvesNote(registry, number)}`,
    );
  });
}

export function labelsCommand(): Command {
  const command = withOrderNumber(
    new Command('labels').description('write a sheet to print, with a QR code for each node that has not joined'),
  )
    .requiredOption('--out <file.html>', 'mode 0600: the codes hold the initial keys; must not exist')
    .action(labels);
  return withExamples(command, 'latchkey-auth-server order labels 1 --data ./data --out labels.html');
}

async function labels(number: number, options: RegistryOptions & { readonly out: string }): Promise<void> {
  await withRegistry(options, async (registry) => {
    if (await exists(options.out))
      throw new UsageFailure(`${options.out} exists already`, { advice: 'Nothing was changed. Choose another name.' });
    const lines = remainingNodes(registry, number);
    if (lines.length > MAX_LABELS) {
      throw new UsageFailure(
        `${lines.length} nodes of order ${number} have not joined, and a sheet has ${MAX_LABELS} labels at most`,
        {
          advice: 'Hand over the manifest instead:',
          run: [['latchkey-auth-server', 'order', 'export', String(number), '--out', freeName(`./order-${number}`)]],
        },
      );
    }
    await recordExport(registry, number, lines.length, 'labels');
    await createFile(options.out, labelSheet(lines, requireOrder(registry, number)));
    process.stdout.write(
      `Labels of ${pluralize(lines.length, 'node')} are in ${options.out}: print it, then delete it. They hold the initial keys.\n${halvesNote(registry, number)}`,
    );
  });
}

function halvesNote(registry: Registry, number: number): string {
  return requireOrder(registry, number).manufacturer === undefined ? '' : INSTALLER_HALVES;
}

/**
 * Nodes that have not joined; that keys of them leave the registry stands in the audit log before
 * they do.
 */
function remainingNodes(registry: Registry, number: number): ManifestLine[] {
  const order = requireOrder(registry, number);
  if (order.state === 'closed') throw new UsageFailure(`order ${number} is closed for good`, { advice: 'Order the nodes anew.' });
  const lines = [...remainingManifest(registry, number)];
  if (lines.length === 0) throw new UsageFailure(`all nodes of order ${number} have joined`, { advice: 'Nothing was written.' });
  return lines;
}
