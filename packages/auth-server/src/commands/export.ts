import { createFile, isTaken } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { type ExportedLine, nodesExport, nodesExportWithKeys } from '@latchkey/operations';
import { controllerFilterOption, echoFilters, nodeFilter, type FilterOptions, filterOptions } from './node-filter.js';
import { call, withOperations } from './operation-call.js';
import { yieldsToDaemons } from './priority.js';
import { operationOptions, pluralize, printLines, type RegistryOptions } from './registry-command.js';

interface ExportOptions extends RegistryOptions, FilterOptions {
  readonly controller?: number;
  readonly withKeys?: true;
  readonly out?: string;
}

export function exportCommand(): Command {
  const command = filterOptions(
    controllerFilterOption(
      operationOptions(new Command('export').description('write nodes as JSON Lines, by ID, without their keys')),
    ),
  )
    .option('--with-keys', 'write their keys too, as secret_key; needs --out')
    .option('--out <file>', 'mode 0600, must not exist (default: standard output)')
    .action(exportNodes);
  return withExamples(
    yieldsToDaemons(command),
    'latchkey-auth-server export --data ./data --state joined > joined.jsonl',
    'latchkey-auth-server export --data ./data --never-joined --with-keys --out nodes.jsonl',
  );
}

async function exportNodes({ withKeys, out, ...options }: ExportOptions): Promise<void> {
  if (withKeys === true && out === undefined)
    throw new UsageFailure('keys go to a file of mode 0600 alone', { advice: 'Name it with --out FILE.' });
  if (out !== undefined && (await isTaken(out)))
    throw new UsageFailure(`${out} exists already`, { advice: 'Nothing was written. Choose another name.' });
  echoFilters(options);
  const write = (pages: AsyncIterable<readonly ExportedLine[]>): Promise<void> => {
    const lines = linesOf(pages, withKeys === true);
    return out === undefined ? printLines(lines) : createFile(out, lines);
  };
  await withOperations(options, async (context) => {
    const operation = withKeys === true ? nodesExportWithKeys : nodesExport;
    const { count } = await call(operation, { ...context, write }, nodeFilter(options));
    if (out !== undefined) process.stdout.write(`${pluralize(count, 'node')} written to ${out}\n`);
  });
}

/** The lines of a page in one piece. */
async function* linesOf(pages: AsyncIterable<readonly ExportedLine[]>, withKeys: boolean): AsyncGenerator<string> {
  for await (const page of pages)
    yield page.map(([node, key]) => `${JSON.stringify(withKeys ? { ...node, secret_key: key?.toHex() } : node)}\n`).join('');
}
