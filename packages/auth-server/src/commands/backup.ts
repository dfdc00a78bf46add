import { exists } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { withExamples } from '@latchkey/runtime/cli';
import { Command, InvalidArgumentError } from 'commander';
import { backupsCreate, call } from '@latchkey/operations';
import { restore } from '@latchkey/registry';
import { describeLocation, locateRegistry } from '../registry-location.js';
import { isoTime } from '@latchkey/runtime/iso-time';
import {
  confirm,
  pluralize,
  masterKeyOf,
  currentUser,
  registryOptions,
  type RegistryOptions,
  withContext,
  yesOption,
} from './registry-command.js';
import { yieldsToDaemons } from './priority.js';

const STAYS_HERE =
  'A backup has every key of the registry, and may be larger than the API hands out: it stays on the machine until a person takes it elsewhere.';

export function backupCommand(): Command {
  const command = registryOptions(
    new Command('backup')
      .description('write the registry, as it is at one moment, to a file, while the server runs; its keys stay sealed')
      .argument('<file>', 'must not exist', newFileArgument),
    undefined,
    STAYS_HERE,
  ).action(write);
  return withExamples(yieldsToDaemons(command), 'latchkey-auth-server backup --data ./data "backup-$(date -I).lkb"');
}

function newFileArgument(text: string): string {
  if (text === '-') throw new InvalidArgumentError('expected the path of a file, not standard output');
  return text;
}

async function write(file: string, options: RegistryOptions): Promise<void> {
  const { head } = await withContext(options, (context) => call(backupsCreate, context, { file }));
  process.stdout.write(`The registry is in ${file}, sealed under its master key, which is not in it; audit HEAD ${head}\n`);
}

export function restoreCommand(): Command {
  const command = registryOptions(
    new Command('restore')
      .description('make a registry from a backup; nodes that got a key after it was made need `node reset`')
      .argument('<file>', 'what `backup` wrote'),
  )
    .option('--replace', 'rename the existing registry, and put the restored one in its place')
    .addOption(yesOption())
    .action(restoreBackup);
  return withExamples(
    command,
    'latchkey-auth-server restore --data ./new-data --master-key-file master.key backup-2026-11-23.lkb',
    'latchkey-auth-server restore --data ./data --replace backup-2026-11-23.lkb',
    'latchkey-auth-server restore --data postgres://latchkey@localhost/latchkey --local-data ./data backup-2026-11-23.lkb',
  );
}

async function restoreBackup(
  file: string,
  options: RegistryOptions & { readonly replace?: true; readonly yes?: true },
): Promise<void> {
  const replace = options.replace === true;
  const location = await locateRegistry(options);
  const where = describeLocation(location);
  if (replace)
    await confirm(
      `Replace the registry in ${where}? Nodes that joined or renewed since the backup are locked out until they are reset.`,
      options.yes,
    );
  if (!(await exists(file))) throw new UsageFailure(`${file} is not there`, { advice: 'Check the path.' });
  const master = await masterKeyOf(options);
  const key = String(master);
  const { backupAt, nodes, previous } = await restore(file, {
    ...location,
    master,
    actor: currentUser(),
    replace,
  });
  process.stdout.write(
    `The registry in ${where} is that of ${isoTime(backupAt)}, with ${pluralize(nodes, 'node')}.\n` +
      `It opens under the master key ${key}: that one is to be where the server looks for it.\n` +
      (previous === undefined
        ? ''
        : `The one that was there is in ${location.postgres === undefined ? '' : 'schema '}${previous}\n`) +
      'No node joins or renews in the first 35 s from now.\n' +
      'Nodes that got a key since then do not get in. Where one does not, `latchkey-auth-server node why` and its ID tell what to do.\n',
  );
}
