import { withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { describeLocation, locateRegistry, openRegistry } from '../registry-location.js';
import { currentUser, masterKeyOf, registryOptions, type RegistryOptions } from './registry-command.js';

export function upgradeCommand(): Command {
  const command = registryOptions(
    new Command('upgrade').description('bring the registry to what this version reads, while servers of this version run'),
  ).action(upgrade);
  return withExamples(
    command,
    'latchkey-auth-server upgrade --data ./data',
    'latchkey-auth-server upgrade --data ./data --config /etc/latchkey/auth-server.yaml',
  );
}

async function upgrade(options: RegistryOptions): Promise<void> {
  const location = await locateRegistry(options);
  if (location.postgres !== undefined) {
    const { upgradePostgresSchema } = await import('@latchkey/registry/postgres');
    const { from, to } = await upgradePostgresSchema(location.postgres);
    if (from !== to) {
      process.stdout.write(`The registry in ${describeLocation(location)} had schema ${from}, and has schema ${to}\n`);
      return;
    }
  } else {
    // A registry in a folder is brought up to date whenever it is opened.
    const registry = await openRegistry(location, () => masterKeyOf(options), currentUser());
    await registry.close();
  }
  process.stdout.write(`The registry in ${describeLocation(location)} is what this version reads\n`);
}
