import { z } from 'zod';
import {
  type Contract,
  durationSchema,
  idSchema,
  orderNumberSchema,
  printedTimeSchema,
  timeSchema,
  nameSchema,
  textSchema,
} from './contract.js';
import { TEXT_LIMITS } from './descriptions.js';

/** `scheduled`, `ended`: it was left open, and its window is not. */
export const ORDER_STATES = ['open', 'scheduled', 'ended', 'suspended', 'closed'] as const;
export type OrderStatus = (typeof ORDER_STATES)[number];

/** Nodes in one order at most. */
export const MAX_ORDER_NODES = 1_000_000;

/** Description of an order for people. `null` if empty. */
export interface OrderDescriptionView {
  /** How to reach the installer. */
  readonly contact: string | null;
  /** Site of its nodes, unless their descriptions name one. */
  readonly site: string | null;
}

const descriptionFields = { contact: z.string().nullable(), site: z.string().nullable() };

export interface OrderView extends OrderDescriptionView {
  readonly order: number;
  readonly kind: 'order' | 'import';
  readonly state: OrderStatus;
  readonly installer: string;
  readonly controller: string | null;
  readonly nodes: number;
  readonly joined: number;
  readonly shared_key: boolean;
  /** Whether its initial keys are made of device keys and the installer's halves. */
  readonly split: boolean;
  readonly manufacturer: string | null;
  readonly lifetime_seconds: number;
  readonly grace_seconds: number;
  readonly join_from: string | null;
  readonly join_until: string | null;
  readonly created_at: string;
}

export const orderSchema: z.ZodType<OrderView> = z.object({
  order: orderNumberSchema,
  kind: z.enum(['order', 'import']),
  state: z.enum(ORDER_STATES),
  installer: z.string(),
  ...descriptionFields,
  controller: idSchema.nullable(),
  nodes: z.int(),
  joined: z.int(),
  shared_key: z.boolean(),
  split: z.boolean(),
  manufacturer: z.string().nullable(),
  lifetime_seconds: durationSchema,
  grace_seconds: durationSchema,
  join_from: printedTimeSchema.nullable(),
  join_until: printedTimeSchema.nullable(),
  created_at: printedTimeSchema,
});

export interface OrderList {
  readonly items: readonly OrderView[];
}

export const ordersList: Contract<object, OrderList> = {
  name: 'orders.list',
  scope: 'read',
  isLimitable: true,
  input: z.strictObject({}),
  output: z.object({ items: z.array(orderSchema) }),
};

export interface OrderInput {
  readonly order: number;
}

const orderInputFields = { order: orderNumberSchema };
const orderInputSchema: z.ZodType<OrderInput> = z.strictObject(orderInputFields);

export const ordersShow: Contract<OrderInput, OrderView> = {
  name: 'orders.show',
  scope: 'read',
  isLimitable: true,
  input: orderInputSchema,
  output: orderSchema,
};

/** When nodes may join for the first time. */
export interface JoinWindowInput {
  readonly join_from?: string | undefined;
  readonly join_until?: string | undefined;
}

const windowFields = { join_from: timeSchema.optional(), join_until: timeSchema.optional() };

export interface OrderState {
  readonly order: number;
  readonly state: OrderStatus;
}

const orderStateSchema: z.ZodType<OrderState> = z.object({ ...orderInputFields, state: z.enum(ORDER_STATES) });

export const ordersOpen: Contract<OrderInput & JoinWindowInput, OrderState> = {
  name: 'orders.open',
  scope: 'orders',
  isLimitable: true,
  input: z.strictObject({ ...orderInputFields, ...windowFields }),
  output: orderStateSchema,
};

function change(name: string): Contract<OrderInput, OrderState> {
  return { name, scope: 'orders', isLimitable: true, input: orderInputSchema, output: orderStateSchema };
}

/** `null` removes a text. Omitted texts stay. */
export interface OrderSetInput extends OrderInput {
  readonly contact?: string | null | undefined;
  readonly site?: string | null | undefined;
}

export const orderTextFields: {
  readonly [F in 'contact' | 'site']: z.ZodOptional<z.ZodType<OrderSetInput[F]>>;
} = {
  contact: textSchema(TEXT_LIMITS.contact).nullable().optional(),
  site: textSchema(TEXT_LIMITS.site).nullable().optional(),
};

export interface OrderDescription extends OrderDescriptionView {
  readonly order: number;
  readonly changed: boolean;
}

export const ordersSet: Contract<OrderSetInput, OrderDescription> = {
  name: 'orders.set',
  scope: 'orders',
  isLimitable: true,
  input: z
    .strictObject({ ...orderInputFields, ...orderTextFields })
    .refine(({ contact, site }) => contact !== undefined || site !== undefined, { error: 'expected contact or site' }),
  output: z.object({ ...orderInputFields, changed: z.boolean(), ...descriptionFields }),
};

export const ordersSuspend: Contract<OrderInput, OrderState> = change('orders.suspend');
export const ordersResume: Contract<OrderInput, OrderState> = change('orders.resume');
export const ordersClose: Contract<OrderInput, OrderState> = change('orders.close');

/** Controllers of one order at most. */
const MAX_CONTROLLERS = 64;

export interface ControllerShareInput {
  readonly controller: string;
  readonly count: number;
}

const shareSchema: z.ZodType<ControllerShareInput> = z.strictObject({
  controller: idSchema,
  count: z.int().min(1).max(MAX_ORDER_NODES),
});

export const controllerSharesSchema: z.ZodType<readonly ControllerShareInput[]> = z
  .array(shareSchema)
  .min(1)
  .max(MAX_CONTROLLERS)
  .refine((shares) => new Set(shares.map(({ controller }) => controller)).size === shares.length, {
    error: 'expected each controller once',
  })
  .refine((shares) => shares.reduce((sum, { count }) => sum + count, 0) <= MAX_ORDER_NODES, {
    error: `expected ${MAX_ORDER_NODES} nodes at most`,
  });

/** One controller, or several with a count each. */
export function namesControllers({
  controller,
  controllers,
  count,
}: Pick<OrderCreateInput, 'controller' | 'controllers' | 'count'>): boolean {
  return controllers === undefined ? controller !== undefined : controller === undefined && count === undefined;
}

export const CONTROLLERS_EXPECTED = 'expected controller, or controllers with a count each';

export interface OrderCreateInput extends JoinWindowInput {
  readonly installer: string;
  readonly contact?: string | undefined;
  readonly site?: string | undefined;
  /** Of all nodes; or `controllers`. */
  readonly controller?: string | undefined;
  /** As many as there are device keys, if those are given. */
  readonly count?: number | undefined;
  /** How many nodes join through which controller, if through several. */
  readonly controllers?: readonly ControllerShareInput[] | undefined;
  /** One initial key for all nodes; with device keys, one installer's half. */
  readonly shared_key: boolean;
  /** Who has the device keys, if those are given. */
  readonly manufacturer?: string | undefined;
  readonly lifetime_seconds: number;
  readonly grace_seconds: number;
}

export interface CreatedOrder {
  readonly order: number;
  readonly installer: string;
  /** `null`: several. */
  readonly controller: string | null;
  readonly controllers: readonly ControllerShareInput[];
  readonly count: number;
  readonly split: boolean;
  readonly manufacturer: string | null;
  readonly lifetime_seconds: number;
  readonly grace_seconds: number;
  readonly join_from: string | null;
  readonly join_until: string | null;
}

export const ordersCreate: Contract<OrderCreateInput, CreatedOrder> = {
  name: 'orders.create',
  scope: 'keys',
  input: z
    .strictObject({
      installer: nameSchema,
      contact: textSchema(TEXT_LIMITS.contact).optional(),
      site: textSchema(TEXT_LIMITS.site).optional(),
      controller: idSchema.optional(),
      count: z.int().min(1).max(MAX_ORDER_NODES).optional(),
      controllers: controllerSharesSchema.optional(),
      shared_key: z.boolean(),
      manufacturer: nameSchema.optional(),
      lifetime_seconds: durationSchema,
      grace_seconds: durationSchema,
      ...windowFields,
    })
    .refine(namesControllers, { error: CONTROLLERS_EXPECTED }),
  output: z.object({
    ...orderInputFields,
    installer: z.string(),
    controller: idSchema.nullable(),
    controllers: z.array(shareSchema),
    count: z.int(),
    split: z.boolean(),
    manufacturer: z.string().nullable(),
    lifetime_seconds: durationSchema,
    grace_seconds: durationSchema,
    join_from: printedTimeSchema.nullable(),
    join_until: printedTimeSchema.nullable(),
  }),
};

/** The initial keys, or the installer's halves, of nodes that have not joined. */
export interface OrderHandover {
  readonly order: number;
  readonly count: number;
  /** Whether the keys are the installer's halves. */
  readonly split: boolean;
}

const handoverSchema = z.object({ ...orderInputFields, count: z.int(), split: z.boolean() });

export const ordersExport: Contract<OrderInput, OrderHandover> = {
  name: 'orders.export',
  scope: 'keys',
  isLimitable: true,
  input: orderInputSchema,
  output: handoverSchema,
};

export const ordersLabels: Contract<OrderInput, OrderHandover> = {
  name: 'orders.labels',
  scope: 'keys',
  input: orderInputSchema,
  output: handoverSchema,
};
