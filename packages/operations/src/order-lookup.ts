import { type OrderRecord, type Registry } from '@latchkey/registry';
import { NotFound } from '@latchkey/runtime/failure';

/** The order, finished, or a Failure that says where they are listed. */
export function requireOrder(registry: Registry, number: number): OrderRecord {
  const order = registry.order(number);
  if (order === undefined || order.state === 'pending') throw orderNotFound(number);
  return order;
}

export function orderNotFound(number: number): NotFound {
  return new NotFound(`there is no order ${number}`, { advice: 'List them:', run: [['latchkey-auth-server', 'order', 'list']] });
}
