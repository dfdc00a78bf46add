import { formatId } from '@latchkey/protocol';
import { formatTable, readClock, type TimeRange, type ClockHistory, UsageFailure, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import { isoTime } from '../iso-time.js';
import { keysFromBefore, pastAhead, releasePast, waitsUntil } from '../past-times.js';
import type { Registry } from '../registry.js';
import { confirm, printJson, registryOptions, type RegistryOptions, withRegistry, yesOption } from './with-registry.js';

export function clockCommand(): Command {
  return new Command('clock')
    .description('times that the clock showed before it was set back: of those no key is committed')
    .addCommand(showCommand())
    .addCommand(releaseCommand());
}

function showCommand(): Command {
  const command = registryOptions(new Command('show').description('when no key is committed, now and to come, and why'))
    .option('--json', 'for scripts')
    .action(show);
  return withExamples(command, 'latchkey-auth-server clock show --data ./data');
}

async function show({ json, ...options }: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withRegistry(options, (registry) => {
    const spans = pastAhead(registry.times, Date.now()).map(inWords);
    const keys = keysFromBefore(registry).map(formatId);
    const wait = waitOf(registry.times);
    if (json === true) return printJson({ waits_until: wait ?? null, past: spans, keys_from_before: keys });
    if (wait !== undefined) process.stdout.write(`${waitInWords(wait)}\n`);
    else if (spans.length === 0)
      process.stdout.write('Keys are committed whatever the time: the clock is past all that it has shown\n');
    if (spans.length > 0)
      process.stdout.write(
        `${formatTable(
          ['from', 'until'],
          spans.map(({ from, until }) => [from, until]),
        )}${keysInWords(keys)}\n`,
      );
    return undefined;
  });
}

function releaseCommand(): Command {
  const command = registryOptions(
    new Command('release').description(
      'commit keys again at times that the clock showed before; replace the SK_cs of controllers first',
    ),
  )
    .addOption(yesOption())
    .action(release);
  return withExamples(
    command,
    'latchkey-auth-server clock release --data ./data',
    '# after another SK_cs for each controller: latchkey-auth-server controller rotate 00000001 --data ./data --out FILE',
  );
}

async function release({ yes, ...options }: RegistryOptions & { readonly yes?: true }): Promise<void> {
  const released = await withRegistry(options, async (registry) => {
    const wait = waitOf(registry.times);
    if (pastAhead(registry.times, Date.now()).length === 0) {
      const nothing = wait === undefined ? 'nothing is refused for the clock' : 'there is nothing to release but to wait';
      throw new UsageFailure(nothing, { advice: wait === undefined ? 'Nothing was changed.' : `${waitInWords(wait)}.` });
    }
    await confirmKeys(registry, yes);
    return { spans: (await releasePast(registry, Date.now())).map(inWords), wait };
  });
  for (const { from, until } of released.spans) process.stdout.write(`Keys are committed from ${from} until ${until} again\n`);
  if (released.wait !== undefined) process.stdout.write(`${waitInWords(released.wait)}\n`);
}

function waitOf(times: ClockHistory): string | undefined {
  const until = waitsUntil(times, readClock());
  return until === undefined ? undefined : isoTime(until);
}

function waitInWords(until: string): string {
  return `No key is committed before ${until}: the clock was set back less than five minutes ago, and nothing shortens that`;
}

/** No question where nothing can come of it. */
async function confirmKeys(registry: Registry, yes: true | undefined): Promise<void> {
  const keys = keysFromBefore(registry).map(formatId);
  if (keys.length > 0) await confirm(`${keysInWords(keys)} Release all the same?`, yes);
}

function keysInWords(keys: readonly string[]): string {
  return keys.length === 0
    ? 'Every controller has another SK_cs than before: `clock release` is safe.'
    : `Who kept back an M7 of controller ${keys.join(', ')} could lock its node out. Replace those SK_cs first: latchkey-auth-server controller rotate, with the ID and --out FILE.`;
}

function inWords({ from, until }: TimeRange): { readonly from: string; readonly until: string } {
  return { from: isoTime(from), until: isoTime(until) };
}
