/** What is done with a registry as a whole. */

import { withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { formatHead } from '@latchkey/registry';
import { Command } from 'commander';
import { describeLocation, locateRegistry } from '../registry-location.js';
import { confirm, currentUser, registryOptions, type RegistryOptions, yesOption } from './registry-command.js';

export function registryCommand(): Command {
  return new Command('registry').description('the registry as a whole').addCommand(acceptCommand());
}

function acceptCommand(): Command {
  const command = registryOptions(
    new Command('accept').description(
      'let the registry go on in a database that lost entries, or that was moved to another cluster of PostgreSQL',
    ),
  )
    .addOption(yesOption())
    .action(accept);
  return withExamples(command, 'latchkey-auth-server registry accept --data ./data --config /etc/latchkey/auth-server.yaml');
}

async function accept({ yes, ...options }: RegistryOptions & { readonly yes?: true }): Promise<void> {
  const location = await locateRegistry(options);
  const { folder, postgres } = location;
  if (postgres === undefined)
    throw new UsageFailure(`the registry is in the folder ${folder}, and not in a database`, {
      advice: 'A registry in a folder is put back with `restore`.',
    });
  await confirm(
    'Nodes that joined or renewed with an entry that is lost are locked out until they are reset. Go on without?',
    yes,
  );
  const { acceptLoss } = await import('@latchkey/registry/postgres');
  const { seen, found } = await acceptLoss(postgres, { folder }, currentUser());
  process.stdout.write(
    `The registry in ${describeLocation(location)} goes on after entry ${found === undefined ? 0 : formatHead(found)}.\n` +
      (seen === undefined ? '' : `This machine had seen entry ${formatHead(seen)}.\n`) +
      'Start each auth-server anew. No node joins or renews in the first five minutes.\n' +
      'A node that got a key with a lost entry does not get in: `latchkey-auth-server node why` and its ID tell what to do.\n',
  );
}
