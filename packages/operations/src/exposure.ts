/** Who could know the initial keys of nodes, as an administrator sees it. */

import { formatId } from '@latchkey/protocol';
import { isoTime } from '@latchkey/runtime/iso-time';
import * as contract from './contract/exposure.js';
import type { ExposureInput, ExposureList, ExposureView } from './contract/exposure.js';
import { type Exposure, exposureByOrder, exposureOfOrder } from './key-exposure.js';
import { implement, inTurn, type Operation } from './operation.js';
import { requireOrder } from './order-lookup.js';

export const ordersExposure: Operation<ExposureInput, ExposureList> = implement(
  contract.ordersExposure,
  async (context, { order }) => {
    const { registry } = context;
    if (order !== undefined) await requireOrder(registry, order);
    const exposures = await inTurn(context, () =>
      order === undefined ? exposureByOrder(registry) : exposureOfOrder(registry, order),
    );
    return { items: exposures.map(viewOf) };
  },
);

function viewOf(exposure: Exposure): ExposureView {
  const { keys, issues, deviceKeyHolders, split, nodes, held, joined, controllers, holders, otherHolders, retiredAt } = exposure;
  return {
    keys: keys.kind === 'one' ? keys.fingerprint : `${keys.count} of order ${keys.order}`,
    split,
    issued: issues.map(({ order, installer, at }) => ({ order, installer, at: isoTime(at) })),
    device_keys: deviceKeyHolders,
    nodes,
    held,
    joined,
    controllers: controllers.map(formatId),
    key_holders: holders.map(formatId),
    other_key_holders: otherHolders,
    retired_at: retiredAt === undefined ? null : isoTime(retiredAt),
  };
}
