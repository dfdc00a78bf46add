import { type OrderRecord, type Registry } from '@latchkey/registry';
import { NotFound } from '@latchkey/runtime/failure';
import { isVisible, type VisibleOrders } from './visibility.js';

/** The order, finished, or a Failure that says where they are listed. */
export async function requireOrder(registry: Registry, number: number): Promise<OrderRecord> {
  const order = await registry.order(number);
  if (order === undefined || order.state === 'pending') throw orderNotFound(number);
  return order;
}

/** As `requireOrder`: an order that the caller does not see is not there. */
export async function requireVisibleOrder(
  { registry, visibleOrders }: { readonly registry: Registry; readonly visibleOrders?: VisibleOrders },
  number: number,
): Promise<OrderRecord> {
  if (!isVisible(visibleOrders, number)) throw orderNotFound(number);
  return requireOrder(registry, number);
}

export function orderNotFound(number: number): NotFound {
  return new NotFound(`there is no order ${number}`, { advice: 'List them:', run: [['latchkey-auth-server', 'order', 'list']] });
}
