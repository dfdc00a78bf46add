import { type ApplicationKeyOptions, applicationKeyOptions, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { stateOption } from './state.js';

export function keyCommand(): Command {
  const command = applicationKeyOptions(
    new Command('key').description("application keys from this node's PSK; the PSK itself stays here").addOption(stateOption()),
  ).action(key);
  return withExamples(
    command,
    'latchkey-node-agent key --state ./node --label dtls-psk',
    'latchkey-node-agent key --state ./node --label oscore-master-secret --label oscore-master-salt --format json',
    'latchkey-node-agent key --state ./node --label mqtt-psk --all',
  );
}

async function key(options: ApplicationKeyOptions & { readonly state: string }): Promise<void> {
  const { readKeys } = await import('../key.js');
  process.stdout.write(await readKeys(options));
}
