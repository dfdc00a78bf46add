import { withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { formerKeyNotice, nextMasterKey } from '@latchkey/keyring';
import { Command } from 'commander';
import { withProgress } from './progress.js';
import { rotateMasterKey } from '@latchkey/registry';
import { locateRegistry } from '../registry-location.js';
import { pluralize, masterKeySourceOf, registryOptions, type RegistryOptions, withRegistry } from './registry-command.js';

export function masterKeyCommand(): Command {
  return new Command('master-key')
    .description('the key under which all keys in the registry are sealed')
    .addCommand(rotateCommand());
}

function rotateCommand(): Command {
  const command = registryOptions(
    new Command('rotate').description(
      'seal every key under a new master key, while the server runs; after a crash, run it again to continue',
    ),
  )
    .option('--to <file>', 'file of the new master key, created if it is missing (default: the new key replaces the file in use)')
    .action(rotate);
  return withExamples(
    command,
    'latchkey-auth-server master-key rotate --data ./data',
    'latchkey-auth-server master-key rotate --data ./data --master-key-command "pass show old" --to new-master.key',
  );
}

async function rotate(options: RegistryOptions & { readonly to?: string }): Promise<void> {
  const { postgres } = await locateRegistry(options);
  if (postgres !== undefined)
    throw new UsageFailure('the master key of a registry in a database cannot be rotated by this version', {
      advice: 'Nothing was changed. Auth-servers on other machines would not learn of the new key.',
    });
  const source = await masterKeySourceOf(options);
  const [nodes, key, formerKey] = await withRegistry(options, async (registry) => {
    const next = await nextMasterKey(source, options.to, registry.keyring);
    const fingerprint = String(next.key);
    const total = await registry.storage.nodeCount();
    await withProgress('sealing', total, (progress) => rotateMasterKey(registry, next, progress));
    return [total, fingerprint, formerKeyNotice(next, 'Backups')] as const;
  });
  const location = options.to === undefined ? '' : `; it is in ${options.to}: put it where the server looks for its master key`;
  process.stdout.write(
    `The keys of ${pluralize(nodes, 'node')} are sealed under the master key ${key}${location}\n${formerKey}\n`,
  );
}
