import { createFile, exists, type ManifestLine, UsageFailure, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import { knownOrder, noteExport } from '../changes.js';
import { Handover, type HandoverOptions, handoverOptions } from '../handover.js';
import { labelSheet } from '../labels.js';
import { manifestAgain } from '../order.js';
import type { Registry } from '../registry.js';
import { freeName } from './next-steps.js';
import { orderOf } from './order-terms.js';
import { counted, type RegistryOptions, withRegistry } from './with-registry.js';

/** Labels on one sheet at most: some 500 pages, 30 MB. */
const MAX_LABELS = 10_000;

export function exportCommand(): Command {
  const command = handoverOptions(
    orderOf(new Command('export').description('write the manifest of an order once more, of the nodes that have not joined')),
  ).action(exportOrder);
  return withExamples(
    command,
    'latchkey-auth-server order export 1 --data ./data --out ./for-kim-again',
    'latchkey-auth-server order export 1 --data ./data --out ./for-kim-again --passphrase-file -',
  );
}

async function exportOrder(number: number, options: RegistryOptions & HandoverOptions): Promise<void> {
  await withRegistry(options, async (registry) => {
    const lines = waitingNodes(registry, number);
    const handover = await Handover.prepare(options);
    await noteExport(registry, number, lines.length, handover.readers === undefined ? 'manifest' : 'encrypted manifest');
    await handover.write(lines);
    process.stdout.write(`${counted(lines.length, 'node')} of order ${number} have not joined.\n${handover.advice}\n`);
  });
}

export function labelsCommand(): Command {
  const command = orderOf(
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
    const lines = waitingNodes(registry, number);
    if (lines.length > MAX_LABELS) {
      throw new UsageFailure(
        `${lines.length} nodes of order ${number} have not joined, and a sheet has ${MAX_LABELS} labels at most`,
        {
          advice: 'Hand over the manifest instead:',
          run: [['latchkey-auth-server', 'order', 'export', String(number), '--out', freeName(`./order-${number}`)]],
        },
      );
    }
    await noteExport(registry, number, lines.length, 'labels');
    await createFile(options.out, labelSheet(lines, knownOrder(registry, number)));
    process.stdout.write(
      `Labels of ${counted(lines.length, 'node')} are in ${options.out}: print it, then delete it. They hold the initial keys.\n`,
    );
  });
}

/** Nodes that have not joined; that keys of them leave the registry stands in the audit log before they do. */
function waitingNodes(registry: Registry, number: number): ManifestLine[] {
  const order = knownOrder(registry, number);
  if (order.state === 'closed') throw new UsageFailure(`order ${number} is closed for good`, { advice: 'Order the nodes anew.' });
  const lines = [...manifestAgain(registry, number)];
  if (lines.length === 0) throw new UsageFailure(`all nodes of order ${number} have joined`, { advice: 'Nothing was written.' });
  return lines;
}
