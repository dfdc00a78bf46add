import { setTimeout as pause } from 'node:timers/promises';
import { formatId } from '@latchkey/protocol';
import { createFile } from '@latchkey/runtime/files';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { idArgument, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { type AuditLog, type AuditEntry, formatHead, parseHead, type Registry } from '@latchkey/registry';
import { withProgress } from './progress.js';
import { auditTable } from './audit-table.js';
import {
  confirm,
  printJson,
  printJsonList,
  printLines,
  registryOptions,
  type RegistryOptions,
  withRegistry,
  yesOption,
} from './registry-command.js';

const DEFAULT_LIMIT = 100;
const FOLLOW_INTERVAL_MS = 500;
/** Problems of a log that are named; more would tell nothing new. */
const MAX_PROBLEMS = 20;

export function auditCommand(): Command {
  return new Command('audit')
    .description('what was changed in the registry, when and by whom')
    .addCommand(listCommand())
    .addCommand(followCommand())
    .addCommand(exportCommand())
    .addCommand(verifyCommand())
    .addCommand(pruneCommand());
}

interface ListOptions extends RegistryOptions {
  readonly node?: number;
  readonly from?: number;
  readonly limit: number;
  readonly json?: true;
}

function listCommand(): Command {
  const command = registryOptions(new Command('list').description('list entries: the latest ones, oldest first'))
    .option('--node <id>', 'about this node', idArgument)
    .option('--from <number>', 'from this entry on', integerArgument(1, Number.MAX_SAFE_INTEGER))
    .option('--limit <n>', 'entries at most', integerArgument(1, 1_000_000), DEFAULT_LIMIT)
    .option('--json', 'as a JSON array')
    .action(list);
  return withExamples(
    command,
    'latchkey-auth-server audit list --data ./data',
    'latchkey-auth-server audit list --data ./data --node 0000a1b2',
  );
}

async function list({ node, from, limit, json, ...options }: ListOptions): Promise<void> {
  await withRegistry(options, (registry) => {
    const entries = selectEntries(registry, node === undefined ? undefined : formatId(node), from, limit);
    if (json === true) return printJsonList(entries);
    process.stdout.write(auditTable(entries));
    return undefined;
  });
}

function selectEntries({ audit }: Registry, node: string | undefined, from: number | undefined, limit: number): AuditEntry[] {
  const found: AuditEntry[] = [];
  for (const entry of from === undefined ? audit.newestFirst() : audit.entries(from)) {
    if (node !== undefined && entry.node !== node) continue;
    found.push(entry);
    if (found.length >= limit) break;
  }
  return from === undefined ? found.toReversed() : found;
}

function followCommand(): Command {
  const command = registryOptions(
    new Command('follow').description('print entries as JSON Lines as they are written, until interrupted'),
  )
    .option('--from <number>', 'from this entry on (default: what comes)', integerArgument(1, Number.MAX_SAFE_INTEGER))
    .action(follow);
  return withExamples(command, 'latchkey-auth-server audit follow --data ./data | jq -r \'select(.node) | .node + " " + .what\'');
}

async function follow({ from, ...options }: RegistryOptions & { readonly from?: number }): Promise<void> {
  await withRegistry(options, async (registry) => {
    const stop = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
    let next = from ?? (registry.audit.head?.seq ?? 0) + 1;
    while (!stop.signal.aborted) {
      registry.tables.refreshSnapshot();
      for (const entry of registry.audit.entries(next)) {
        process.stdout.write(`${JSON.stringify(entry)}\n`);
        next = entry.seq + 1;
      }
      await pause(FOLLOW_INTERVAL_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  });
}

function exportCommand(): Command {
  const command = registryOptions(
    new Command('export').description('write the whole log as JSON Lines, and its HEAD to standard error'),
  )
    .option('--from <number>', 'from this entry on', integerArgument(1, Number.MAX_SAFE_INTEGER))
    .action(exportLog);
  return withExamples(command, 'latchkey-auth-server audit export --data ./data > audit.jsonl');
}

async function exportLog({ from, ...options }: RegistryOptions & { readonly from?: number }): Promise<void> {
  await withRegistry(options, async (registry) => {
    // What is written while somebody reads is not of it: the HEAD is that of the last line.
    const { head } = registry.audit;
    await printLines(linesUpTo(registry.audit, from, head?.seq ?? 0));
    if (head !== undefined) process.stderr.write(`HEAD ${formatHead(head)}\n`);
  });
}

function verifyCommand(): Command {
  const command = registryOptions(
    new Command('verify').description('walk the chain of hashes and name what was changed, removed or put elsewhere'),
  )
    .option('--against <head>', 'a HEAD written down earlier, as `verify`, `backup` and the server’s log print it: SEQ:HASH')
    .option('--json', 'as a JSON object')
    .action(verify);
  return withExamples(
    command,
    'latchkey-auth-server audit verify --data ./data',
    'latchkey-auth-server audit verify --data ./data --against "$(cat head)"',
  );
}

async function verify({
  against,
  json,
  ...options
}: RegistryOptions & { readonly against?: string; readonly json?: true }): Promise<void> {
  const expectedHead = against === undefined ? undefined : parseHead(against);
  if (against !== undefined && expectedHead === undefined)
    throw new UsageFailure('--against: expected SEQ:HASH, a number and 64 hex digits');
  await withRegistry(options, (registry) => {
    const { head } = registry.audit;
    const problems: string[] = [];
    for (const problem of registry.audit.verify(expectedHead)) {
      problems.push(problem);
      if (problems.length >= MAX_PROBLEMS) break;
    }
    const headText = head === undefined ? 'none' : formatHead(head);
    if (json === true) printJson({ valid: problems.length === 0, head: headText, problems });
    else if (problems.length === 0) process.stdout.write(`The log holds. HEAD ${headText}\n`);
    else process.stdout.write(problems.map((problem) => `${problem}\n`).join(''));
    if (problems.length > 0) {
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
  await withRegistry(options, async (registry) => {
    const { audit } = registry;
    if (audit.entry(upTo) === undefined)
      throw new UsageFailure(`there is no entry ${upTo}`, {
        advice: 'List them:',
        run: [['latchkey-auth-server', 'audit', 'list']],
      });
    await confirm(`Take the entries through ${upTo} out of the log, after writing them to ${out}?`, yes);
    await createFile(out, linesUpTo(audit, 1, upTo));
    const total = audit.length - ((audit.head?.seq ?? upTo) - upTo);
    await withProgress('pruning', total, (progress) => registry.pruneAudit(upTo, out, progress));
    process.stdout.write(`The entries through ${upTo} are in ${out} and no longer in the registry\n`);
  });
}

function* linesUpTo(audit: AuditLog, from: number | undefined, last: number): Generator<string> {
  for (const entry of audit.entries(from)) {
    if (entry.seq > last) return;
    yield `${JSON.stringify(entry)}\n`;
  }
}
