/** What is done with a registry as a whole. */

import { withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { copyToDatabase, copyToFolder, formatHead } from '@latchkey/registry';
import { Command, Option } from 'commander';
import { URL_SYNTAX } from '../postgres-url.js';
import { describeLocation, locateRegistry, openRegistry } from '../registry-location.js';
import {
  confirm,
  currentUser,
  masterKeyOf,
  pluralize,
  registryOptions,
  type RegistryOptions,
  yesOption,
} from './registry-command.js';

const COPY = 'latchkey-auth-server registry copy --data postgres://latchkey@localhost/latchkey --local-data ./data';
const COPY_BACK = `${COPY} --to folder`;
const ACCEPT = 'latchkey-auth-server registry accept --data ./data --config /etc/latchkey/auth-server.yaml';

export function registryCommand(): Command {
  const command = new Command('registry')
    .description('the registry as a whole')
    .addCommand(copyCommand())
    .addCommand(acceptCommand());
  return withExamples(command, COPY, ACCEPT);
}

function copyCommand(): Command {
  const command = registryOptions(
    new Command('copy').description(
      'move the registry of this machine from its folder into the database, for several auth-servers, or back; nobody may serve from it',
    ),
  )
    .addOption(new Option('--to <where>', 'where it is to be').choices(['database', 'folder']).default('database'))
    .action(copy);
  return withExamples(
    command,
    'latchkey-auth-server registry copy --data ./data --config /etc/latchkey/auth-server.yaml',
    COPY,
    COPY_BACK,
  );
}

async function copy({ to, ...options }: RegistryOptions & { readonly to: 'database' | 'folder' }): Promise<void> {
  const location = await locateRegistry(options);
  const { folder, postgres } = location;
  if (postgres === undefined)
    throw new UsageFailure(`there is no database to copy the registry ${to === 'folder' ? 'from' : 'to'}`, {
      advice: `Name it with \`registry:\` in the configuration of --config, or with --data ${URL_SYNTAX} and --local-data.`,
    });
  const actor = currentUser();
  const copying = to === 'folder' ? copyToFolder : copyToDatabase;
  const { nodes, head, former } = await copying(folder, { postgres, master: await masterKeyOf(options), actor });
  const target = to === 'folder' ? { folder } : location;
  const registry = await openRegistry(target, () => masterKeyOf(options), actor);
  try {
    await registry.record({ what: 'registry copied', note: `from a ${to === 'folder' ? 'database' : 'folder'}, HEAD ${head}` });
  } finally {
    await registry.close();
  }
  const left = to === 'folder' ? `schema ${former} of database ${postgres.database}` : former;
  process.stdout.write(
    `The registry, with ${pluralize(nodes, 'node')}, is in ${describeLocation(target)}; audit HEAD ${head}\n` +
      `It is sealed under the same master key. Nothing serves from ${left} any more: it is as good as a backup.\n` +
      (to === 'folder' ? 'Take `registry:` out of the configuration of the auth-server that is to serve from the folder.\n' : ''),
  );
}

function acceptCommand(): Command {
  const command = registryOptions(
    new Command('accept').description(
      'let the registry go on in a database that lost entries, or that was moved to another cluster of PostgreSQL',
    ),
  )
    .addOption(yesOption())
    .action(accept);
  return withExamples(command, ACCEPT);
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
