/** What `move` does: another controller or another address, with the same keys. */

import { formatId, type Renewal } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { openLocked } from './commands/state.js';

export interface MoveOptions {
  readonly state: string;
  readonly controller: Endpoint;
  readonly controllerId?: number;
}

/** Due by every measure. */
const DUE: Renewal = { afterMs: 0, afterBoots: 1 };

export async function move(options: MoveOptions): Promise<void> {
  const { controller, controllerId } = options;
  const { file, lock } = await openLocked(options.state, 'latchkey-node-agent move');
  try {
    const { state, keyLease } = file.record;
    const controllers = controllerId === undefined ? state.controllers : [controllerId];
    // Its new controller has no key of it before it renews.
    const due = keyLease === undefined ? {} : { keyLease: { ...keyLease, renewal: DUE } };
    await file.write({ state: { ...state, controllers }, endpoints: [controller], ...due });
    const controllerText = controllers === 'any' ? '' : ` ${controllers.map(formatId).join(', ')}`;
    process.stdout.write(`Node ${formatId(state.idI)} has its controller${controllerText} at ${formatEndpoint(controller)}\n`);
  } finally {
    await lock.release();
  }
}
