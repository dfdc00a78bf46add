import { formatId } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { idArgument, peerArgument, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { openLocked, stateOption } from './state.js';

interface MoveOptions {
  readonly state: string;
  readonly controller: Endpoint;
  readonly controllerId?: number;
}

export function moveCommand(): Command {
  const command = new Command('move')
    .description('tell this device of another controller, or of another address; its keys stay')
    .addOption(stateOption())
    .requiredOption('--controller <host:port>', 'where its controller is from now on', peerArgument)
    .option('--controller-id <id>', 'ID_c, if it is another controller', idArgument)
    .action(move);
  return withExamples(
    command,
    'latchkey-node-agent move --state ./node --controller 192.0.2.2:5683 --controller-id 00000002',
    'latchkey-node-agent move --state ./node --controller 192.0.2.9:5683',
  );
}

async function move(options: MoveOptions): Promise<void> {
  const { controller, controllerId } = options;
  const { file, lock } = await openLocked(options.state, 'latchkey-node-agent move');
  try {
    const { state } = file.record;
    const controllers = controllerId === undefined ? state.controllers : [controllerId];
    await file.write({ state: { ...state, controllers }, endpoints: [controller] });
    const controllerText = controllers === 'any' ? '' : ` ${controllers.map(formatId).join(', ')}`;
    process.stdout.write(`Node ${formatId(state.idI)} has its controller${controllerText} at ${formatEndpoint(controller)}\n`);
  } finally {
    await lock.release();
  }
}
