/** Installers: how they are reached, and whom their keys are encrypted to. */

import { z } from 'zod';
import { type Contract, nameSchema, printedTimeSchema, textSchema } from './contract.js';
import { TEXT_LIMITS } from './descriptions.js';

/** Installers of one API: one page has all of them. */
export const MAX_INSTALLERS = 1_000;
/** Of one request, of one token, and of one installer. */
export const MAX_RECIPIENTS = 8;
/** Characters: a post-quantum recipient has 2,000. */
const MAX_RECIPIENT = 4_096;

export const INSTALLER_ID: RegExp = /^[0-9a-f]{16}$/;

/** Describes an installer. `null` if empty. */
interface InstallerTexts {
  readonly contact: string | null;
  readonly site: string | null;
  readonly note: string | null;
}

export interface InstallerView extends InstallerTexts {
  /** Is never given to another installer. */
  readonly id: string;
  /** As orders have it. */
  readonly name: string;
  /** age recipients. */
  readonly recipients: readonly string[];
  /** `null` if no recipient was ever stored. */
  readonly recipients_changed_at: string | null;
  /** Who changed them, as in the audit log. */
  readonly recipients_changed_by: string | null;
  readonly created_at: string;
}

const idSchema = z.string().regex(INSTALLER_ID, { error: 'expected the ID of an installer, 16 hex digits' });
const viewFields = {
  id: z.string(),
  name: z.string(),
  contact: z.string().nullable(),
  site: z.string().nullable(),
  note: z.string().nullable(),
  recipients: z.array(z.string()).describe('age recipients that keys for the installer are encrypted to'),
  recipients_changed_at: printedTimeSchema.nullable(),
  recipients_changed_by: z.string().nullable().describe('Who last changed the recipients, as in the audit log'),
  created_at: printedTimeSchema,
};

export const installerSchema: z.ZodType<InstallerView> = z.object(viewFields);

export interface InstallerListInput {
  /** The installer of exactly this name. */
  readonly name?: string | undefined;
}

export interface InstallerList {
  /** In ascending order of name. */
  readonly items: readonly InstallerView[];
}

export const installersList: Contract<InstallerListInput, InstallerList> = {
  name: 'installers.list',
  scope: 'orders',
  input: z.strictObject({ name: nameSchema.optional() }),
  output: z.object({ items: z.array(installerSchema) }),
};

export interface InstallerInput {
  readonly installer: string;
}

export const installerInputFields: { readonly installer: z.ZodString } = { installer: idSchema };

export const installersShow: Contract<InstallerInput, InstallerView> = {
  name: 'installers.show',
  scope: 'orders',
  input: z.strictObject(installerInputFields),
  output: installerSchema,
};

/** `MAX_RECIPIENTS` at most. */
export const recipientListSchema: z.ZodArray<z.ZodString> = z.array(z.string().min(1).max(MAX_RECIPIENT)).max(MAX_RECIPIENTS);

export interface InstallerAddInput {
  readonly name: string;
  readonly contact?: string | undefined;
  readonly site?: string | undefined;
  readonly note?: string | undefined;
  readonly recipients?: readonly string[] | undefined;
}

export const installerAddFields: {
  readonly name: z.ZodType<string>;
  readonly contact: z.ZodOptional<z.ZodType<string>>;
  readonly site: z.ZodOptional<z.ZodType<string>>;
  readonly note: z.ZodOptional<z.ZodType<string>>;
  readonly recipients: z.ZodOptional<z.ZodArray<z.ZodString>>;
} = {
  name: nameSchema,
  contact: textSchema(TEXT_LIMITS.contact).optional(),
  site: textSchema(TEXT_LIMITS.site).optional(),
  note: textSchema(TEXT_LIMITS.note).optional(),
  recipients: recipientListSchema.optional(),
};

export const installersAdd: Contract<InstallerAddInput, InstallerView> = {
  name: 'installers.add',
  scope: 'orders',
  input: z.strictObject(installerAddFields),
  output: installerSchema,
};

/** `null` removes a text. Omitted fields stay. The name stays in any case. */
export interface InstallerSetInput extends InstallerInput {
  readonly contact?: string | null | undefined;
  readonly site?: string | null | undefined;
  readonly note?: string | null | undefined;
  /** In place of those that are stored; empty for none. */
  readonly recipients?: readonly string[] | undefined;
}

type Settable = Omit<InstallerSetInput, 'installer' | 'recipients'>;

export const installerSetFields: {
  readonly [F in keyof Settable]-?: z.ZodOptional<z.ZodType<Settable[F]>>;
} & { readonly recipients: z.ZodOptional<z.ZodArray<z.ZodString>> } = {
  contact: textSchema(TEXT_LIMITS.contact).nullable().optional(),
  site: textSchema(TEXT_LIMITS.site).nullable().optional(),
  note: textSchema(TEXT_LIMITS.note).nullable().optional(),
  recipients: recipientListSchema.optional(),
};

export const INSTALLER_CHANGE_EXPECTED = 'expected contact, site, note or recipients';

export function changesInstaller({ contact, site, note, recipients }: Omit<InstallerSetInput, 'installer'>): boolean {
  return [contact, site, note, recipients].some((value) => value !== undefined);
}

export interface InstallerChange extends InstallerView {
  readonly changed: boolean;
}

export const installersSet: Contract<InstallerSetInput, InstallerChange> = {
  name: 'installers.set',
  scope: 'orders',
  input: z
    .strictObject({ ...installerInputFields, ...installerSetFields })
    .refine(changesInstaller, { error: INSTALLER_CHANGE_EXPECTED }),
  output: z.object({ changed: z.boolean(), ...viewFields }),
};

export interface RemovedInstaller {
  readonly id: string;
  readonly name: string;
}

export const installersRemove: Contract<InstallerInput, RemovedInstaller> = {
  name: 'installers.remove',
  scope: 'orders',
  input: z.strictObject(installerInputFields),
  output: z.object({ id: z.string(), name: z.string() }),
};
