import { withExamples } from '@latchkey/runtime/cli';
import { readOrCreateMasterKey } from '@latchkey/keyring';
import { Command } from 'commander';
import { createRegistry, describeLocation, locateRegistry } from '../registry-location.js';
import { masterKeySourceOf, currentUser, registryOptions, type RegistryOptions } from './registry-command.js';

export function initCommand(): Command {
  const command = registryOptions(
    new Command('init').description('make a new, empty registry, and a master key for it where there is none'),
  ).action(init);
  return withExamples(
    command,
    'latchkey-auth-server init --data /var/lib/latchkey/auth-server',
    'latchkey-auth-server init --data ./data --master-key-file /etc/latchkey/master.key',
    'latchkey-auth-server init --data ./data --master-key-command "pass show latchkey/master"',
  );
}

async function init(options: RegistryOptions): Promise<void> {
  const source = await masterKeySourceOf(options);
  const location = await locateRegistry(options);
  const registry = await createRegistry(location, () => readOrCreateMasterKey(source), currentUser());
  await registry.close();
  const where = source.kind === 'command' ? 'what the command prints' : source.path;
  process.stdout.write(
    `A new registry is in ${describeLocation(location)}; its keys are sealed under ${where}.\n` +
      'Without that master key nothing in it can be read: keep a copy apart from the backups.\n',
  );
}
