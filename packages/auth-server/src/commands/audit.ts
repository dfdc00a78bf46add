import { setTimeout as pause } from 'node:timers/promises';
import { formatId } from '@latchkey/protocol';
import { createFile } from '@latchkey/runtime/files';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { type GivenTime, idArgument, integerArgument, startTimeArgument, TIME_HELP, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { auditHead, auditList, auditPrune, auditVerify, call as callHere } from '@latchkey/operations';
import type { AuditEntryView, AuditPage } from '@latchkey/operations/contract';
import { parseHead } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import { AUDIT_COLUMNS } from './audit-table.js';
import { type ListOptions as OutputOptions, ListOutput, listOptions } from './list-output.js';
import {
  confirm,
  operationOptions,
  printJson,
  printLines,
  registryOptions,
  type RegistryOptions,
  withContext,
  yesOption,
} from './registry-command.js';
import { call, type CommandContext, withOperations } from './operation-call.js';

const DEFAULT_LIMIT = 100;
const FOLLOW_INTERVAL_MS = 500;
/** Entries per page. */
const PAGE = 1_000;

export function auditCommand(): Command {
  return new Command('audit')
    .description('what was changed in the registry, when and by whom')
    .addCommand(listCommand())
    .addCommand(followCommand())
    .addCommand(exportCommand())
    .addCommand(verifyCommand())
    .addCommand(pruneCommand());
}

interface ListOptions extends RegistryOptions, OutputOptions {
  readonly node?: number;
  readonly from?: number;
  readonly since?: GivenTime;
  readonly limit: number;
}

function listCommand(): Command {
  const command = operationOptions(new Command('list').description('list entries: the latest ones, oldest first'))
    .option('--node <id>', 'about this node', idArgument)
    .option('--from <number>', 'from this entry on', integerArgument(1, Number.MAX_SAFE_INTEGER))
    .option('--since <time>', `of this time or later: ${TIME_HELP}`, startTimeArgument)
    .option('--limit <n>', 'entries at most', integerArgument(1, 1_000_000), DEFAULT_LIMIT);
  listOptions(command, AUDIT_COLUMNS, 'as a JSON array').action(list);
  return withExamples(
    command,
    'latchkey-auth-server audit list --data ./data',
    'latchkey-auth-server audit list --data ./data --node 0000a1b2',
    'latchkey-auth-server audit list --data ./data --since 2026-11-01 --limit 100000 --csv > november.csv',
  );
}

async function list({ node, from, since, limit, ...options }: ListOptions): Promise<void> {
  const output = new ListOutput(AUDIT_COLUMNS, options);
  if (since?.local === true) process.stderr.write(`Entries since ${since.text}\n`);
  const input = {
    node: node === undefined ? undefined : formatId(node),
    from,
    since: since === undefined ? undefined : isoTime(since.at),
    limit,
  };
  await withOperations(options, async (context) => output.print((await call(auditList, context, input)).items));
}

function followCommand(): Command {
  const command = operationOptions(
    new Command('follow').description('print entries as JSON Lines as they are written, until interrupted'),
  )
    .option('--from <number>', 'from this entry on (default: what comes)', integerArgument(1, Number.MAX_SAFE_INTEGER))
    .action(follow);
  return withExamples(command, 'latchkey-auth-server audit follow --data ./data | jq -r \'select(.node) | .node + " " + .what\'');
}

async function follow({ from, ...options }: RegistryOptions & { readonly from?: number }): Promise<void> {
  await withOperations(options, async (context) => {
    const stop = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
    let next = from ?? (await call(auditHead, context, {})).seq + 1;
    while (!stop.signal.aborted) {
      for await (const entry of entriesFrom(context, next)) {
        process.stdout.write(`${JSON.stringify(entry)}\n`);
        next = entry.seq + 1;
      }
      await pause(FOLLOW_INTERVAL_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  });
}

/** Iterates over entries to the end of the log, or through the last possible one, page by page. */
async function* entriesFrom(context: CommandContext, first: number, last?: number): AsyncGenerator<AuditEntryView> {
  for (let from: number | undefined = first; from !== undefined;) {
    const { items }: AuditPage = await call(auditList, context, { from, up_to: last, limit: PAGE });
    yield* items;
    const end = items.at(-1);
    from = end === undefined || items.length < PAGE ? undefined : end.seq + 1;
  }
}

function exportCommand(): Command {
  const command = operationOptions(
    new Command('export').description('write the whole log as JSON Lines, and its HEAD to standard error'),
  )
    .option('--from <number>', 'from this entry on', integerArgument(1, Number.MAX_SAFE_INTEGER))
    .action(exportLog);
  return withExamples(command, 'latchkey-auth-server audit export --data ./data > audit.jsonl');
}

async function exportLog({ from, ...options }: RegistryOptions & { readonly from?: number }): Promise<void> {
  await withOperations(options, async (context) => {
    // The HEAD is that of the last line, even if entries are written during the walk.
    const { head, seq } = await call(auditHead, context, {});
    await printLines(linesOf(entriesFrom(context, from ?? 1, seq)));
    if (head !== null) process.stderr.write(`HEAD ${head}\n`);
  });
}

async function* linesOf(entries: AsyncIterable<AuditEntryView>): AsyncGenerator<string> {
  for await (const entry of entries) yield `${JSON.stringify(entry)}\n`;
}

function verifyCommand(): Command {
  const command = operationOptions(
    new Command('verify').description('walk the chain of hashes and name what was changed, removed or put elsewhere'),
  )
    .option('--against <head>', 'a HEAD written down earlier, as `verify`, `backup` and the server’s log print it: SEQ:HASH')
    .option('--json', 'as a JSON object')
    .action(verify);
  return withExamples(
    command,
    'latchkey-auth-server audit verify --data ./data',
    'latchkey-auth-server audit verify --data ./data --against "$(cat head)"',
    'latchkey-auth-server audit verify --context plant --against "$(cat head)"',
  );
}

async function verify({
  against,
  json,
  ...options
}: RegistryOptions & { readonly against?: string; readonly json?: true }): Promise<void> {
  if (against !== undefined && parseHead(against) === undefined)
    throw new UsageFailure('--against: expected SEQ:HASH, a number and 64 hex digits');
  await withOperations(options, async (context) => {
    const verification = await call(auditVerify, context, { against });
    const { valid, head, problems } = verification;
    if (json === true) printJson(verification);
    else if (valid) process.stdout.write(`The log holds. HEAD ${head}\n`);
    else process.stdout.write(problems.map((problem) => `${problem}\n`).join(''));
    if (!valid) {
      throw new Failure('the audit log does not hold', {
        advice: 'Find out who can write to the registry’s folder; compare with exports and backups.',
      });
    }
  });
}

function pruneCommand(): Command {
  const command = registryOptions(
    new Command('prune').description('write entries to a file, then take them out of the registry; the chain goes on'),
  )
    .requiredOption('--up-to <number>', 'the last entry that goes', integerArgument(1, Number.MAX_SAFE_INTEGER))
    .requiredOption('--out <file>', 'where they are kept; must not exist')
    .addOption(yesOption())
    .action(prune);
  return withExamples(command, 'latchkey-auth-server audit prune --data ./data --up-to 1000000 --out audit-2026.jsonl');
}

interface PruneOptions extends RegistryOptions {
  readonly upTo: number;
  readonly out: string;
  readonly yes?: true;
}

async function prune({ upTo, out, yes, ...options }: PruneOptions): Promise<void> {
  const approve = (): Promise<void> =>
    confirm(`Take the entries through ${upTo} out of the log, after writing them to ${out}?`, yes);
  const keep = (pieces: AsyncIterable<string>): Promise<void> => createFile(out, pieces);
  await withContext(options, async (context) => {
    await callHere(auditPrune, { ...context, approve, keep }, { up_to: upTo, out });
    process.stdout.write(`The entries through ${upTo} are in ${out} and no longer in the registry\n`);
  });
}
