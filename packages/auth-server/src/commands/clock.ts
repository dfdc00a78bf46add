import { call as callHere, clockRelease, clockShow, describeHoldoff } from '@latchkey/operations';
import type { ClockView } from '@latchkey/operations/contract';
import { formatTable, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import {
  confirm,
  operationOptions,
  printJson,
  registryOptions,
  type RegistryOptions,
  withContext,
  yesOption,
} from './registry-command.js';
import { call, withOperations } from './operation-call.js';

export function clockCommand(): Command {
  return new Command('clock')
    .description('times that the clock showed before it was set back: of those no key is committed')
    .addCommand(showCommand())
    .addCommand(releaseCommand());
}

function showCommand(): Command {
  const command = operationOptions(new Command('show').description('when no key is committed, now and to come, and why'))
    .option('--json', 'for scripts')
    .action(show);
  return withExamples(command, 'latchkey-auth-server clock show --data ./data');
}

async function show({ json, ...options }: RegistryOptions & { readonly json?: true }): Promise<void> {
  const view = await withOperations(options, (context) => call(clockShow, context, {}));
  if (json === true) return printJson(view);
  const { holdoff_until: holdoff, blocked_ranges: ranges, controllers_with_old_keys: controllers } = view;
  if (holdoff !== null) process.stdout.write(`${describeHoldoff(holdoff)}\n`);
  else if (ranges.length === 0) process.stdout.write('No times are blocked: keys are committed now\n');
  if (ranges.length > 0)
    process.stdout.write(
      `${formatTable(
        ['from', 'until'],
        ranges.map(({ from, until }) => [from, until]),
      )}${formatOldKeys(controllers)}\n`,
    );
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
  // Asks nothing if the command would change nothing.
  const approve = async ({ controllers_with_old_keys: controllers }: ClockView): Promise<void> => {
    if (controllers.length > 0) await confirm(`${formatOldKeys(controllers)} Release all the same?`, yes);
  };
  const released = await withContext(options, (context) => callHere(clockRelease, { ...context, approve }, {}));
  for (const { from, until } of released.released_ranges)
    process.stdout.write(`Keys are committed from ${from} until ${until} again\n`);
  if (released.holdoff_until !== null) process.stdout.write(`${describeHoldoff(released.holdoff_until)}\n`);
}

function formatOldKeys(keys: readonly string[]): string {
  return keys.length === 0
    ? 'Every controller has another SK_cs than before: `clock release` is safe.'
    : `Who kept back an M7 of controller ${keys.join(', ')} could lock its node out. Replace those SK_cs first: latchkey-auth-server controller rotate, with the ID and --out FILE.`;
}
