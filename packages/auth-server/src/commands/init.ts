import { withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import { Registry } from '../registry.js';
import { dataOption } from './with-registry.js';

export function initCommand(): Command {
  const command = new Command('init')
    .description('make a new, empty registry')
    .addOption(dataOption())
    .action(async ({ data }: { data: string }) => {
      const registry = await Registry.create(data);
      await registry.close();
      process.stdout.write(`A new registry is in ${data}\n`);
    });
  return withExamples(command, 'latchkey-auth-server init --data /var/lib/latchkey/auth-server');
}
