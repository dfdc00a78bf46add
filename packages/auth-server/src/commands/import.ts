import { MAX_MANIFEST, parseManifest, readPrivateFile, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import { newNode } from '../order.js';
import { knownController, lifetimeOption } from './order.js';
import { dataOption, withRegistry } from './with-registry.js';

interface ImportOptions {
  readonly data: string;
  readonly lifetime: number;
}

export function importCommand(): Command {
  const command = new Command('import')
    .description(
      'add nodes that were ordered elsewhere, all or none: CSV with the header id,controller_id,controller,ik, or JSON Lines with those names',
    )
    .argument('<file>', 'mode 0600: it holds initial keys')
    .addOption(dataOption())
    .addOption(lifetimeOption())
    .action(importFile);
  return withExamples(
    command,
    'latchkey-auth-server import --data ./data nodes.csv',
    'latchkey-auth-server import --data ./data --lifetime none nodes.jsonl',
  );
}

async function importFile(file: string, { data, lifetime }: ImportOptions): Promise<void> {
  const lines = parseManifest(await readPrivateFile(file, MAX_MANIFEST), file);
  const { added, unchanged } = await withRegistry(data, (registry) => {
    for (const idC of new Set(lines.map((line) => line.idC))) knownController(registry, idC);
    return registry.addNodes(
      lines.map((line) => newNode(line, lifetime)),
      Date.now(),
    );
  });
  process.stdout.write(`${added} added, ${unchanged} unchanged\n`);
}
