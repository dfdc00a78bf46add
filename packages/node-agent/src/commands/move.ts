import { idArgument, peerArgument, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import type { MoveOptions } from '../move.js';
import { stateOption } from './state.js';

export function moveCommand(): Command {
  const command = new Command('move')
    .description('assign this device to another controller, or set a new address of its controller; its keys stay')
    .addOption(stateOption())
    .requiredOption('--controller <host:port>', 'where its controller is from now on', peerArgument)
    .option('--controller-id <id>', 'ID_c, if it is another controller', idArgument)
    // A daemon has no use for it, and is small without.
    .action(async (options: MoveOptions) => (await import('../move.js')).move(options));
  return withExamples(
    command,
    'latchkey-node-agent move --state ./node --controller 192.0.2.2:5683 --controller-id 00000002',
    'latchkey-node-agent move --state ./node --controller 192.0.2.9:5683',
  );
}
