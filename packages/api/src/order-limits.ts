/** Limits of users and tokens to some orders: which roles need them, and their description. */

import type { OrderLimits } from '@latchkey/operations/contract';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { Role } from './access.js';

/** Of an installer whose record names no orders. */
export const NO_ORDERS: OrderLimits = { orders: [] };

/** Omits absent limits. Returns `undefined` if all are absent. */
export function limitsFrom({ orders, installer, sites }: OrderLimits): OrderLimits | undefined {
  if (orders === undefined && installer === undefined && sites === undefined) return undefined;
  return {
    ...(orders === undefined ? {} : { orders }),
    ...(installer === undefined ? {} : { installer }),
    ...(sites === undefined ? {} : { sites }),
  };
}

/** Alike for limits that are alike. */
export function textOfLimits(limits: OrderLimits | null | undefined): string {
  const { orders = null, installer = null, sites = null } = limits ?? {};
  return JSON.stringify(limits ? [orders, installer, sites] : null);
}

/**
 * An installer sees some orders, everybody else all of them.
 *
 * @throws UsageFailure
 */
export function requireLimitsOf(role: Role, limits: OrderLimits | undefined): void {
  if ((role === 'installer') === (limits !== undefined)) return;
  throw new UsageFailure(
    role === 'installer' ? 'an installer sees some orders only, and none are named' : `the role ${role} is not limited to orders`,
    {
      advice:
        role === 'installer'
          ? 'Nothing was changed. Name the installer as the orders do, or the orders by number.'
          : 'Nothing was changed. Leave out installer, orders and sites, or use the role installer.',
    },
  );
}

/**
 * Description for the audit log, which has no names of installers and sites: the kind of each
 * limit.
 */
export function describeLimits(limits: OrderLimits | undefined): string {
  if (limits === undefined) return '';
  const { orders, installer, sites } = limits;
  const parts = [
    ...(orders === undefined ? [] : [`orders ${orders.join(', ')}`]),
    ...(installer === undefined ? [] : ['orders of one installer']),
    ...(sites === undefined ? [] : [`orders of ${sites.length === 1 ? 'one site' : `${sites.length} sites`}`]),
  ];
  return `; limited to ${parts.join(', ')}`;
}
