import { formatId, type TimeRange, type ClockHistory } from '@latchkey/protocol';
import { formatTable, withExamples } from '@latchkey/runtime/cli';
import { readClock } from '@latchkey/runtime/daemon';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { isoTime } from '@latchkey/runtime/iso-time';
import { controllersWithOldKeys, blockedRanges, releaseRanges, holdoffUntil } from '@latchkey/operations';
import type { Registry } from '@latchkey/registry';
import { confirm, printJson, registryOptions, type RegistryOptions, withRegistry, yesOption } from './registry-command.js';

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
    const ranges = blockedRanges(registry.clockHistory, Date.now()).map(formatRange);
    const controllers = controllersWithOldKeys(registry).map(formatId);
    const holdoff = holdoffOf(registry.clockHistory);
    if (json === true)
      return printJson({ holdoff_until: holdoff ?? null, blocked_ranges: ranges, controllers_with_old_keys: controllers });
    if (holdoff !== undefined) process.stdout.write(`${formatHoldoff(holdoff)}\n`);
    else if (ranges.length === 0)
      process.stdout.write('Keys are committed whatever the time: the clock is past all that it has shown\n');
    if (ranges.length > 0)
      process.stdout.write(
        `${formatTable(
          ['from', 'until'],
          ranges.map(({ from, until }) => [from, until]),
        )}${formatOldKeys(controllers)}\n`,
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
    const holdoff = holdoffOf(registry.clockHistory);
    if (blockedRanges(registry.clockHistory, Date.now()).length === 0) {
      const nothing = holdoff === undefined ? 'nothing is refused for the clock' : 'there is nothing to release but to wait';
      throw new UsageFailure(nothing, { advice: holdoff === undefined ? 'Nothing was changed.' : `${formatHoldoff(holdoff)}.` });
    }
    await confirmOldKeys(registry, yes);
    return { spans: (await releaseRanges(registry, Date.now())).map(formatRange), wait: holdoff };
  });
  for (const { from, until } of released.spans) process.stdout.write(`Keys are committed from ${from} until ${until} again\n`);
  if (released.wait !== undefined) process.stdout.write(`${formatHoldoff(released.wait)}\n`);
}

function holdoffOf(times: ClockHistory): string | undefined {
  const until = holdoffUntil(times, readClock());
  return until === undefined ? undefined : isoTime(until);
}

function formatHoldoff(until: string): string {
  return `No key is committed before ${until}: the clock was set back less than five minutes ago, and nothing shortens that`;
}

/** No question where nothing can come of it. */
async function confirmOldKeys(registry: Registry, yes: true | undefined): Promise<void> {
  const keys = controllersWithOldKeys(registry).map(formatId);
  if (keys.length > 0) await confirm(`${formatOldKeys(keys)} Release all the same?`, yes);
}

function formatOldKeys(keys: readonly string[]): string {
  return keys.length === 0
    ? 'Every controller has another SK_cs than before: `clock release` is safe.'
    : `Who kept back an M7 of controller ${keys.join(', ')} could lock its node out. Replace those SK_cs first: latchkey-auth-server controller rotate, with the ID and --out FILE.`;
}

function formatRange({ from, until }: TimeRange): { readonly from: string; readonly until: string } {
  return { from: isoTime(from), until: isoTime(until) };
}
