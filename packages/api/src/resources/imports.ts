/** Nodes that come in a file, and nodes that go out in one. */

import { createHash } from 'node:crypto';
import { call, type ImportContext, type ImportDetails, importsRun } from '@latchkey/operations';
import {
  durationSchema,
  type ImportInput,
  type ImportOutcome,
  nameSchema,
  TEXT_LIMITS,
  textSchema,
} from '@latchkey/operations/contract';
import { decryptManifest } from '@latchkey/provisioning';
import { UsageFailure } from '@latchkey/runtime/failure';
import { z } from 'zod';
import { requireFreshSignIn } from '../access.js';
import { Accepted } from '../answers.js';
import { IMPORTS_PATH, MAX_IMPORT_BODY, MAX_IMPORT_FILE } from '../large-bodies.js';
import { operationContext } from '../operation-context.js';
import { Problem } from '../problem.js';
import { defineRoute, type Route, type RouteContext } from '../route.js';
import { orderNumberSchema } from '../schemas.js';
import { jobSchema } from './jobs.js';

/** How the file is named in messages. */
const FILE = 'the file';

const recipient = defineRoute({
  name: 'imports.recipient',
  summary: 'Show to whom a file of nodes is encrypted',
  description: 'An age recipient, whose identity is in the memory of the API: another start has another one. Tokens are refused.',
  scope: 'keys',
  takesKeys: true,
  path: `${IMPORTS_PATH}/recipient`,
  input: z.strictObject({}),
  output: z.object({ recipient: z.string() }),
  async run({ importKeys }) {
    const pair = await importKeys();
    return { recipient: pair.recipient };
  },
});

const lineFields = { line: z.int(), id: z.string().optional() };
const reasonedLines = z.array(z.object({ ...lineFields, reason: z.string() })).readonly();

const countFields = {
  added: z.int(),
  changed: z.int(),
  unchanged: z.int(),
  duplicates: z.int(),
  rejected: z.int(),
  described_otherwise: z.int().describe('Nodes of the registry that the file describes otherwise: they stay so'),
};

const effectSchema = z.object({
  ...countFields,
  changes: reasonedLines,
  problems: reasonedLines.describe('Lines that are refused'),
  warnings: z.array(z.string()).readonly().describe('About lines that are imported nevertheless'),
});

/** Preview of an import: its effects, and the `expect` that confirms them. */
interface ImportPreview extends Omit<ImportOutcome, 'dry_run' | 'done' | 'order'> {
  readonly moves: readonly { readonly way: string; readonly nodes: number }[];
  readonly shared_keys: number;
  readonly expect: string | null;
}

export const importPreviewSchema: z.ZodType<ImportPreview> = effectSchema
  .extend({
    additions: z.array(z.object(lineFields)).readonly(),
    moves: z
      .array(z.object({ way: z.string(), nodes: z.int() }))
      .readonly()
      .describe('Nodes that get another controller, `from FROM to TO`'),
    shared_keys: z.int().describe('Lines that are refused because another node has their key'),
    expect: z.string().nullable().describe('Send it to import just this; null where lines are refused that are not left out'),
  })
  .meta({ id: 'ImportPreview' });

const inputSchema = z
  .strictObject({
    installer: nameSchema.describe('Who holds the keys of the nodes'),
    contact: textSchema(TEXT_LIMITS.contact).optional().describe('Of the installer'),
    site: textSchema(TEXT_LIMITS.site).optional().describe('Where nodes are that are added, unless the file says otherwise'),
    lifetime_seconds: durationSchema,
    shared_key: z.boolean().default(false).describe('Nodes may have an initial key that others have'),
    skip_bad: z.boolean().default(false).describe('Leaves out lines that are refused, instead of refusing all'),
    file: z
      .string()
      .min(1)
      .max(MAX_IMPORT_BODY)
      .describe(
        `CSV or JSON, of some ${MAX_IMPORT_FILE / 1024 / 1024} MiB at most, encrypted by age to the recipient of ${IMPORTS_PATH}/recipient, in base64`,
      ),
    dry_run: z.literal(true).optional().describe('Answers with a preview, and changes nothing'),
    expect: z.string().max(64).optional().describe('Of the preview: nothing else is imported'),
  })
  .refine(({ dry_run: dryRun, expect }) => (dryRun === undefined) !== (expect === undefined), {
    error: 'expected dry_run, or expect of a preview',
  });
type Input = z.output<typeof inputSchema>;

const run = defineRoute({
  method: 'POST',
  name: importsRun.name,
  summary: 'Import nodes that were ordered elsewhere, all or none',
  description:
    'With `dry_run` it answers with a preview. With `expect` of that preview it becomes a job, whose result has the number of the order. If the same file would do something else by then, it answers 409 with a new preview. Tokens are refused.',
  scope: importsRun.scope,
  takesKeys: true,
  path: IMPORTS_PATH,
  maxBody: MAX_IMPORT_BODY,
  // A slow line may take longer for the body than a sign-in stays fresh.
  checkCaller: (principal) => requireFreshSignIn(principal),
  input: inputSchema,
  output: z.union([jobSchema, importPreviewSchema]),
  isIdempotent: ({ expect }) => expect !== undefined,
  async run(context, input) {
    const octets = await openFile(context, input.file);
    const wipe = (): void => void octets.fill(0);
    if (input.expect === undefined) return preview(context, input, octets).finally(wipe);
    const job = await context.jobs
      .start(
        { principal: context.principal, kind: importsRun.name, scopes: [importsRun.scope] },
        async ({ context: jobContext, begin, requireRights }) => {
          const report = async (outcome: ImportOutcome, details: ImportDetails): Promise<void> => {
            const now = viewPreview(context, input, octets, { outcome, details, isRefused: false });
            if (now.expect !== input.expect) throw new Problem('selection-changed', { preview: now });
            await begin(outcome.added + outcome.changed);
            await requireRights();
          };
          const running = call(importsRun, importContext(jobContext, octets, report), operationInput(input, false));
          // The preview has the lines: a job keeps its result on the disk.
          return importResultSchema.parse(await running.finally(wipe));
        },
      )
      // Too many jobs run: this one did not.
      .catch((error: unknown) => {
        wipe();
        throw error;
      });
    return new Accepted(`/v1/jobs/${job.id}`, job);
  },
});

type ImportResult = Pick<
  ImportOutcome,
  'order' | 'added' | 'changed' | 'unchanged' | 'duplicates' | 'rejected' | 'described_otherwise'
>;

/** Of the job. */
export const importResultSchema: z.ZodType<ImportResult> = z.object({ order: orderNumberSchema.nullable(), ...countFields });

/** @throws Problem for a file that this API does not accept */
async function openFile({ importKeys }: RouteContext, base64: string): Promise<Uint8Array> {
  const { identity } = await importKeys();
  try {
    return await decryptManifest(Buffer.from(base64, 'base64'), FILE, { identities: [identity] });
  } catch (error) {
    if (!(error instanceof UsageFailure)) throw error;
    const is = `expected a file that age encrypted to the recipient of ${IMPORTS_PATH}/recipient, in base64`;
    throw new Problem('bad-request', { errors: [{ at: 'file', is }] });
  }
}

async function preview(context: RouteContext, input: Input, octets: Uint8Array): Promise<ImportPreview> {
  let reported: { readonly outcome: ImportOutcome; readonly details: ImportDetails } | undefined;
  const report = (outcome: ImportOutcome, details: ImportDetails): void => void (reported = { outcome, details });
  let isRefused = false;
  try {
    await call(importsRun, importContext(operationContext(context), octets, report), operationInput(input, true));
  } catch (error) {
    // A preview must report rejected lines, not fail on them.
    if (reported === undefined || !(error instanceof UsageFailure)) throw error;
    isRefused = true;
  }
  if (reported === undefined) throw new TypeError('an import that reports nothing');
  return viewPreview(context, input, octets, { ...reported, isRefused });
}

function importContext(
  context: Omit<ImportContext, 'file' | 'decrypt'>,
  octets: Uint8Array,
  report: NonNullable<ImportContext['report']>,
): ImportContext {
  return { ...context, file: { name: FILE, octets }, decrypt: { advice: 'Encrypt the file once.' }, report };
}

function operationInput({ file: _, expect: __, ...input }: Input, isDry: boolean): ImportInput {
  return { ...input, dry_run: isDry };
}

interface Reported {
  readonly outcome: ImportOutcome;
  readonly details: ImportDetails;
  readonly isRefused: boolean;
}

/**
 * `expect` identifies the octets of the file, the options of the import, and the outcome of each
 * line.
 */
function viewPreview(
  { opaque, principal }: RouteContext,
  input: Input,
  octets: Uint8Array,
  { outcome, details, isRefused }: Reported,
): ImportPreview {
  const moves = [...details.ways].map(([way, nodes]) => ({ way, nodes })).toSorted((a, b) => (a.way < b.way ? -1 : 1));
  const effect = effectSchema.parse(outcome);
  const hash = createHash('sha256').update(octets).digest('hex');
  const expect = opaque.tag(
    principal,
    Buffer.from(JSON.stringify([hash, operationInput(input, true), effect, moves, details.decisions])),
  );
  return { ...effect, additions: outcome.additions, moves, shared_keys: details.sharedKeys, expect: isRefused ? null : expect };
}

export const importRoutes: readonly Route[] = [recipient, run];
