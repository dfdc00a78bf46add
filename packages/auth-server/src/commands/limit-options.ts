/** Orders that an installer, or a token, is limited to. */

import { limitsFrom } from '@latchkey/api/tokens';
import { type OrderLimits, orderLimitFields } from '@latchkey/operations/contract';
import { integerArgument } from '@latchkey/runtime/cli';
import { type Command, InvalidArgumentError } from 'commander';
import type { z } from 'zod';
import type { Column } from './list-output.js';
import { installerArgument } from './order-options.js';

const MAX_ORDER = 0xffff_ffff;

export interface LimitOptions {
  readonly order?: readonly number[];
  readonly installer?: string;
  readonly site?: readonly string[];
}

/** @param who is limited, for the help */
export function limitOptions(command: Command, who: string): Command {
  return command
    .option('--installer <name>', `${who}: to orders of this installer`, (text) =>
      parsed(orderLimitFields.installer, installerArgument(text)),
    )
    .option('--order <number>', `${who}: to this order; may be given again`, (text, before?: readonly number[]) =>
      parsed(orderLimitFields.orders, [...(before ?? []), integerArgument(1, MAX_ORDER)(text)]),
    )
    .option('--site <name>', `${who}: to orders of this site; may be given again`, (text, before?: readonly string[]) =>
      parsed(orderLimitFields.sites, [...(before ?? []), text]),
    );
}

/** As it is compared with what orders have: in NFC, without blanks around it. */
function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues[0]?.message ?? 'expected another value');
}

export function limitsOf({ order: orders, installer, site: sites }: LimitOptions): OrderLimits | undefined {
  return limitsFrom({ orders, installer, sites });
}

/** Of a list: what each is limited to, if anything. */
export function limitsColumn<R extends { readonly limits: OrderLimits | null }>(): Column<R> {
  return {
    name: 'limited-to',
    heading: 'LIMITED TO',
    unlessEmpty: true,
    value: ({ limits }) =>
      limits && [
        ...(limits.installer === undefined ? [] : [`installer ${limits.installer}`]),
        ...(limits.orders ?? []).map((order) => `order ${order}`),
        ...(limits.sites ?? []).map((site) => `site ${site}`),
      ],
  };
}
