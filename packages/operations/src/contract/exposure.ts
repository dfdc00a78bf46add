import { z } from 'zod';
import { type Contract, idSchema, orderNumberSchema, printedTimeSchema } from './contract.js';

/** Who could know an initial key, or all initial keys of an order. */
export interface ExposureView {
  /** A fingerprint, or how many keys of which order. */
  readonly keys: string;
  /** Whether all of the keys are made of a device key and the installer's half. */
  readonly split: boolean;
  /** Who was given the key; the installer's half, if it is split. */
  readonly issued: readonly { readonly order: number; readonly installer: string; readonly at: string }[];
  /** Who has the device keys; empty if the keys are whole. */
  readonly device_keys: readonly { readonly order: number; readonly manufacturer: string }[];
  readonly nodes: number;
  /** Nodes whose key it still is, and nodes that traded it in. */
  readonly held: number;
  readonly joined: number;
  readonly controllers: readonly string[];
  /** Controllers that could have the key, or one that derives from it. */
  readonly key_holders: readonly string[];
  /** Whether more could: the registry does not know. */
  readonly other_key_holders: boolean;
  readonly retired_at: string | null;
}

export const exposureSchema: z.ZodType<ExposureView> = z.object({
  keys: z.string(),
  split: z.boolean(),
  issued: z.array(z.object({ order: orderNumberSchema, installer: z.string(), at: printedTimeSchema })),
  device_keys: z.array(z.object({ order: orderNumberSchema, manufacturer: z.string() })),
  nodes: z.int(),
  held: z.int(),
  joined: z.int(),
  controllers: z.array(idSchema),
  key_holders: z.array(idSchema),
  other_key_holders: z.boolean(),
  retired_at: printedTimeSchema.nullable(),
});

export interface ExposureInput {
  /** Key by key; without it one line for each order. */
  readonly order?: number | undefined;
}

export interface ExposureList {
  readonly items: readonly ExposureView[];
}

export const ordersExposure: Contract<ExposureInput, ExposureList> = {
  name: 'orders.exposure',
  scope: 'read',
  input: z.strictObject({ order: orderNumberSchema.optional() }),
  output: z.object({ items: z.array(exposureSchema) }),
};
