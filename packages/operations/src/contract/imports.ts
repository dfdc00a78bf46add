import { z } from 'zod';
import { type Contract, durationSchema, nameSchema, orderNumberSchema, textSchema } from './contract.js';
import { TEXT_LIMITS } from './descriptions.js';

export interface ImportInput {
  /** Who holds the keys of the nodes. */
  readonly installer: string;
  readonly contact?: string | undefined;
  /** Site of the added nodes, unless the file names one. */
  readonly site?: string | undefined;
  readonly lifetime_seconds: number;
  /** Who has the device keys, if those are given. */
  readonly manufacturer?: string | undefined;
  /** Nodes may have an initial key that others have. */
  readonly shared_key: boolean;
  /** Lines that are refused are left out, instead of refusing all. */
  readonly skip_bad: boolean;
  /** Nothing is changed. */
  readonly dry_run: boolean;
}

/** A line of the file, and the node in it, if it names one. */
export interface ImportLine {
  readonly line: number;
  readonly id?: string | undefined;
}

export interface ReasonedLine extends ImportLine {
  /** Why it is refused, or what changes. */
  readonly reason: string;
}

export interface ImportOutcome {
  readonly dry_run: boolean;
  readonly done: boolean;
  /** The order of the nodes that were added. */
  readonly order: number | null;
  readonly added: number;
  readonly changed: number;
  readonly unchanged: number;
  readonly duplicates: number;
  readonly rejected: number;
  /**
   * Nodes already in the registry whose description in the file differs: the registry keeps its
   * own.
   */
  readonly described_otherwise: number;
  /** Only in a dry run; of very many, the first. */
  readonly additions: readonly ImportLine[];
  readonly changes: readonly ReasonedLine[];
  /** Of very many, the first. */
  readonly problems: readonly ReasonedLine[];
  /** About lines that are imported nevertheless. */
  readonly warnings: readonly string[];
}

const lineFields = { line: z.int(), id: z.string().optional() };
const reasonedLines = z.array(z.object({ ...lineFields, reason: z.string() }));

export const importsRun: Contract<ImportInput, ImportOutcome> = {
  name: 'imports.run',
  scope: 'keys',
  input: z.strictObject({
    installer: nameSchema,
    contact: textSchema(TEXT_LIMITS.contact).optional(),
    site: textSchema(TEXT_LIMITS.site).optional(),
    lifetime_seconds: durationSchema,
    manufacturer: nameSchema.optional(),
    shared_key: z.boolean(),
    skip_bad: z.boolean(),
    dry_run: z.boolean(),
  }),
  output: z.object({
    dry_run: z.boolean(),
    done: z.boolean(),
    order: orderNumberSchema.nullable(),
    added: z.int(),
    changed: z.int(),
    unchanged: z.int(),
    duplicates: z.int(),
    rejected: z.int(),
    described_otherwise: z.int(),
    additions: z.array(z.object(lineFields)),
    changes: reasonedLines,
    problems: reasonedLines,
    warnings: z.array(z.string()),
  }),
};
