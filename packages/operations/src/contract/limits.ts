import { z } from 'zod';
import { nameSchema, orderNumberSchema, textSchema } from './contract.js';
import { TEXT_LIMITS } from './descriptions.js';

/** Orders and sites that one caller is limited to. */
const MAX_VALUES = 256;

/** Some orders: those that pass each limit that is given. */
export interface OrderLimits {
  readonly orders?: readonly number[] | undefined;
  /** Whose orders, as they name the installer. */
  readonly installer?: string | undefined;
  /** Sites of the orders themselves, whatever their nodes say. */
  readonly sites?: readonly string[] | undefined;
}

export const orderLimitFields: {
  readonly orders: z.ZodOptional<z.ZodType<readonly number[]>>;
  readonly installer: z.ZodOptional<z.ZodType<string>>;
  readonly sites: z.ZodOptional<z.ZodType<readonly string[]>>;
} = {
  orders: z.array(orderNumberSchema).min(1).max(MAX_VALUES).optional(),
  installer: nameSchema.optional(),
  sites: z.array(textSchema(TEXT_LIMITS.site)).min(1).max(MAX_VALUES).optional(),
};
