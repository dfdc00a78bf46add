/** What `move` does: another controller or another address, with the same keys. */

import { formatId } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { openLocked } from './commands/state.js';

export interface MoveOptions {
  readonly state: string;
  readonly controller: Endpoint;
  readonly controllerId?: number;
}

export async function move(options: MoveOptions): Promise<void> {
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
