import { formatId } from '@latchkey/protocol';
import { createFile, exists } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { echoFilters, filterNodes, type FilterOptions, filterOptions } from './node-filter.js';
import { viewNode } from '@latchkey/operations';
import type { Registry } from '@latchkey/registry';
import { pluralize, printLines, registryOptions, type RegistryOptions, withRegistry } from './registry-command.js';

interface ExportOptions extends RegistryOptions, FilterOptions {
  readonly withKeys?: true;
  readonly out?: string;
}

export function exportCommand(): Command {
  const command = filterOptions(
    registryOptions(new Command('export').description('write nodes as JSON Lines, by ID, without their keys')),
  )
    .option('--with-keys', 'write their keys too, as secret_key; wants --out')
    .option('--out <file>', 'mode 0600, must not exist (default: standard output)')
    .action(exportNodes);
  return withExamples(
    command,
    'latchkey-auth-server export --data ./data --state joined > joined.jsonl',
    'latchkey-auth-server export --data ./data --never-joined --with-keys --out nodes.jsonl',
  );
}

async function exportNodes({ withKeys, out, ...options }: ExportOptions): Promise<void> {
  if (withKeys === true && out === undefined)
    throw new UsageFailure('keys go to a file of mode 0600 alone', { advice: 'Name it with --out FILE.' });
  if (out !== undefined && (await exists(out)))
    throw new UsageFailure(`${out} exists already`, { advice: 'Nothing was written. Choose another name.' });
  echoFilters(options);
  await withRegistry(options, async (registry) => {
    if (out === undefined) return printLines(linesOf(registry, options, false));
    const count = [...filterNodes(registry, options, Date.now())].length;
    // That keys leave the registry stands in the audit log before they do.
    if (withKeys === true) await registry.record({ what: 'nodes exported', count, note: 'with keys' });
    await createFile(out, linesOf(registry, options, withKeys === true));
    process.stdout.write(`${pluralize(count, 'node')} written to ${out}\n`);
  });
}

function* linesOf(registry: Registry, options: FilterOptions, withKeys: boolean): Generator<string> {
  const now = Date.now();
  for (const { idI } of filterNodes(registry, options, now)) {
    const node = registry.node(idI);
    if (node === undefined) continue;
    const view = { ...viewNode(node, now), initial_key: node.ik.fingerprint, seen_by: node.seenBy.map(formatId) };
    yield `${JSON.stringify(withKeys ? { ...view, secret_key: node.key.toHex() } : view)}\n`;
    node.key.wipe();
  }
}
