import { z } from 'zod';
import {
  type Contract,
  endpointSchema,
  fingerprintSchema,
  idSchema,
  orderNumberSchema,
  printedTimeSchema,
  textSchema,
} from './contract.js';
import { TEXT_LIMITS } from './descriptions.js';

/** Description of a controller for people. `null` if empty. */
export interface ControllerDescriptionView {
  readonly name: string | null;
  readonly site: string | null;
  /** Whom to call about it. */
  readonly contact: string | null;
}

/** Texts of a controller. `null`: there is no such text any more. */
export interface ControllerDescriptionChange {
  readonly name?: string | null | undefined;
  readonly site?: string | null | undefined;
  readonly contact?: string | null | undefined;
}

const descriptionFields = { name: z.string().nullable(), site: z.string().nullable(), contact: z.string().nullable() };
export const controllerTextFields: {
  readonly [F in keyof ControllerDescriptionChange]-?: z.ZodOptional<z.ZodType<ControllerDescriptionChange[F]>>;
} = {
  name: textSchema(TEXT_LIMITS.name).nullable().optional(),
  site: textSchema(TEXT_LIMITS.site).nullable().optional(),
  contact: textSchema(TEXT_LIMITS.contact).nullable().optional(),
};

/** A controller, with the fingerprints of its keys. */
export interface ControllerView extends ControllerDescriptionView {
  readonly id: string;
  readonly nid: string;
  readonly servers: readonly string[];
  readonly key: string;
  readonly staged_key: string | null;
  readonly pass_through: boolean;
  readonly pass_through_switched_at: string | null;
  readonly added_at: string;
  readonly last_seen_at: string | null;
  /** Of the SK_cs that its request of `last_seen_at` opened under. `null`: not known. */
  readonly used_key: string | null;
  /** Its first request under that key. */
  readonly used_key_since: string | null;
  /** Requests under that key since then, as far as they were noted. */
  readonly used_key_requests: number | null;
  /** Of what that key may seal, at least this part. The controller counts it exactly. */
  readonly used_key_ratio: number | null;
  readonly authentication_failing_since: string | null;
  readonly clock_skew_ms: number | null;
  readonly clock_skewed_since: string | null;
  readonly clock_skewed_at: string | null;
  /** Requests of joins that were refused for it since then. */
  readonly clock_skewed_requests: number | null;
}

const controllerFields = z.object({
  id: idSchema,
  ...descriptionFields,
  nid: endpointSchema,
  servers: z.array(endpointSchema),
  key: fingerprintSchema,
  staged_key: fingerprintSchema.nullable(),
  pass_through: z.boolean(),
  pass_through_switched_at: printedTimeSchema.nullable(),
  added_at: printedTimeSchema,
  last_seen_at: printedTimeSchema.nullable(),
  used_key: fingerprintSchema
    .nullable()
    .describe('Fingerprint of the SK_cs that the latest request opened under: key, or one before it'),
  used_key_since: printedTimeSchema.nullable(),
  used_key_requests: z.int().nullable().describe('Requests that opened under used_key'),
  used_key_ratio: z
    .number()
    .nullable()
    .describe('Of the messages that used_key may seal, at least this part: those requests and their answers'),
  authentication_failing_since: printedTimeSchema.nullable(),
  clock_skew_ms: z.number().nullable(),
  clock_skewed_since: printedTimeSchema.nullable(),
  clock_skewed_at: printedTimeSchema.nullable(),
  clock_skewed_requests: z.int().nullable(),
});
export const controllerSchema: z.ZodType<ControllerView> = controllerFields;

export interface ControllerList {
  readonly items: readonly ControllerView[];
}

export const controllersList: Contract<object, ControllerList> = {
  name: 'controllers.list',
  scope: 'read',
  input: z.strictObject({}),
  output: z.object({ items: z.array(controllerSchema) }),
};

export interface ControllerInput {
  readonly id: string;
}

const controllerInputFields = { id: idSchema };
const controllerInputSchema: z.ZodType<ControllerInput> = z.strictObject(controllerInputFields);

export interface ControllerDetails extends ControllerView {
  /** Nodes assigned to it, and those of them that have joined. */
  readonly nodes: number;
  readonly joined: number;
}

export const controllersShow: Contract<ControllerInput, ControllerDetails> = {
  name: 'controllers.show',
  scope: 'read',
  input: controllerInputSchema,
  output: controllerFields.extend({ nodes: z.int(), joined: z.int() }),
};

export interface ControllerAddInput extends ControllerInput, ControllerDescriptionChange {
  readonly nid: string;
  readonly servers: readonly string[];
  readonly pass_through: boolean;
}

export const controllersAdd: Contract<ControllerAddInput, ControllerInput> = {
  name: 'controllers.add',
  scope: 'keys',
  input: z.strictObject({
    ...controllerInputFields,
    nid: endpointSchema,
    servers: z.array(endpointSchema),
    pass_through: z.boolean(),
    ...controllerTextFields,
  }),
  output: z.object(controllerInputFields),
};

export interface ControllerRotation extends ControllerInput {
  /** A staged key that was given up, unused. */
  readonly discarded_key: string | null;
}

export const controllersRotate: Contract<ControllerInput, ControllerRotation> = {
  name: 'controllers.rotate',
  scope: 'keys',
  input: controllerInputSchema,
  output: z.object({ ...controllerInputFields, discarded_key: fingerprintSchema.nullable() }),
};

export const controllersRemove: Contract<ControllerInput, ControllerInput> = {
  name: 'controllers.remove',
  scope: 'controllers',
  input: controllerInputSchema,
  output: z.object(controllerInputFields),
};

/** What may change of a controller while everything runs. */
export interface ControllerSettings extends ControllerDescriptionView {
  readonly nid: string;
  readonly servers: readonly string[];
  readonly pass_through: boolean;
}

const settingsFields = {
  ...descriptionFields,
  nid: endpointSchema,
  servers: z.array(endpointSchema),
  pass_through: z.boolean(),
};

export interface ControllerSetInput extends ControllerInput, ControllerDescriptionChange {
  readonly nid?: string | undefined;
  readonly servers?: readonly string[] | undefined;
  readonly pass_through?: boolean | undefined;
}

/** The controller after the change. */
export interface ControllerChange extends ControllerSettings {
  readonly id: string;
  readonly changed: boolean;
  /** Nodes whose keys it could have; only where `pass_through` was set. */
  readonly keys_held?: readonly string[] | undefined;
  /**
   * Nodes whose keys the controller may have, for all that the registry knows. Present only if
   * `pass_through` was set.
   */
  readonly keys_held_unknown?: readonly string[] | undefined;
  readonly before: ControllerSettings;
  /** Nodes that know the address before the change; `null` if the address is unchanged. */
  readonly nodes: {
    readonly joined: number;
    /** Nodes that have not joined and still may, by order: their manifests have that address. */
    readonly waiting: readonly { readonly order: number; readonly nodes: number }[];
  } | null;
  /** Whether the registry was restored from a backup. */
  readonly registry_restored: boolean;
}

export const controllersSet: Contract<ControllerSetInput, ControllerChange> = {
  name: 'controllers.set',
  scope: 'controllers',
  input: z
    .strictObject({
      ...controllerInputFields,
      nid: endpointSchema.optional(),
      servers: z.array(endpointSchema).min(1).optional(),
      pass_through: z.boolean().optional(),
      ...controllerTextFields,
    })
    .refine(({ id: _, ...settings }) => Object.values(settings).some((value) => value !== undefined), {
      error: 'expected nid, servers, pass_through, name, site or contact',
    }),
  output: z.object({
    ...controllerInputFields,
    changed: z.boolean(),
    ...settingsFields,
    keys_held: z.array(idSchema).optional(),
    keys_held_unknown: z.array(idSchema).optional(),
    before: z.object(settingsFields),
    nodes: z.object({ joined: z.int(), waiting: z.array(z.object({ order: orderNumberSchema, nodes: z.int() })) }).nullable(),
    registry_restored: z.boolean(),
  }),
};
