/** Jobs that hand out keys, in a file for the recipients of the request. */

import { type CredentialContext, describeRecipients, type KeyOutput } from '@latchkey/operations';
import { checkRecipients, encryptManifest, formatCredential, formatManifest } from '@latchkey/provisioning';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { z } from 'zod';
import { requireFreshSignIn } from '../access.js';
import { Accepted } from '../answers.js';
import { type JobView, recipientListSchema } from '@latchkey/operations/contract';
import type { JobControl } from '../jobs/jobs.js';
import type { KeyFile } from '../jobs/key-files.js';
import { Problem } from '../problem.js';
import type { RouteContext } from '../route.js';

export const recipientsSchema: z.ZodType<readonly string[]> = recipientListSchema
  .min(1)
  .describe('Who can open the file: age recipients, `age1...` as age-keygen prints them');

export interface KeyJob {
  readonly kind: string;
  readonly recipients: readonly string[];
  readonly file: Omit<KeyFile, 'octets' | 'recipients'>;
}

/** What hands keys to a file of a job. */
interface KeyJobControl extends JobControl {
  /** Begins the job, with so many parts. */
  readonly openOutput: (total?: number) => Promise<KeyOutput>;
  readonly handOver: CredentialContext['handOver'];
  /** For a text that is neither a manifest nor a credential. Begin the job first. */
  readonly handOverText: (id: string, text: string) => Promise<void>;
}

/** Begins a job whose keys go into a file for the recipients. */
export async function startKeyJob(
  context: RouteContext,
  { kind, recipients, file }: KeyJob,
  work: (control: KeyJobControl) => Promise<unknown>,
): Promise<Accepted<JobView>> {
  const { jobs, keyFiles, principal } = context;
  requireFreshSignIn(principal);
  await requireRecipients(recipients);
  await requireAllowedRecipients(context, kind, recipients, idsOf(file.order, file.controller));
  const place = keyFiles.reserve(principal);
  const begin = (control: JobControl): Promise<unknown> => {
    /** The file is there once the registry knows the keys. */
    const keep = async (id: string, text: string, change: () => Promise<string | undefined>): Promise<void> => {
      let octets = await encryptManifest(text, { recipients });
      await control.requireRights();
      const instead = await change();
      if (instead !== undefined) octets = await encryptManifest(instead, { recipients });
      place.put(id, { ...file, recipients, octets });
    };
    return work({
      ...control,
      async openOutput(total = 1) {
        const id = await control.begin(total);
        return {
          kind: 'encrypted manifest',
          write: (lines, beforeCommit) =>
            keep(id, formatManifest(lines), async () => {
              const instead = await beforeCommit?.();
              return instead && formatManifest(instead);
            }),
        };
      },
      async handOver(credential, change) {
        await keep(await control.begin(1), formatCredential(credential), async () => {
          await change();
          return undefined;
        });
      },
      handOverText: (id, text) => keep(id, text, () => Promise.resolve(undefined)),
    });
  };
  try {
    const { order, controller } = file;
    const options = { principal, kind, scopes: ['keys'] as const, about: { order, controller } };
    const job = await jobs.start(options, (control) => begin(control).finally(place.release));
    return new Accepted(`/v1/jobs/${job.id}`, job);
  } catch (error) {
    // Its work may not even have been called.
    place.release();
    throw error;
  }
}

/** @throws Problem that says which field is wrong */
export async function requireRecipients(recipients: readonly string[] = []): Promise<void> {
  if (recipients.length === 0) return;
  try {
    await checkRecipients(recipients);
  } catch (error) {
    // Its message never quotes what may be an identity.
    if (error instanceof UsageFailure)
      throw new Problem('bad-request', { errors: [{ at: 'recipients', is: error.message }], advice: error.advice });
    throw error;
  }
}

/** Whoever takes over a token, or the way to the API, gets no keys that the own identity opens. */
export async function requireAllowedRecipients(
  { keyFiles, principal, registry }: RouteContext,
  kind: string,
  recipients: readonly string[],
  about: ReturnType<typeof idsOf> = {},
): Promise<void> {
  const { keyRecipients } = principal;
  const other = keyRecipients && recipients.find((recipient) => !keyRecipients.has(recipient));
  if (other === undefined) return;
  const note = `${kind}, for ${describeRecipients([other])}`;
  if (keyFiles.isRefusalRecorded(principal)) await registry.record({ what: 'key recipient refused', note, ...about });
  throw new Problem('recipient-not-allowed', {
    detail: 'A recipient is not among those that the token names.',
    advice: 'Name recipients of the token only, or make a token for the others: latchkey-auth-server token create --help',
  });
}

/** For the audit log. */
export function idsOf(
  order: number | undefined,
  controller: number | undefined,
): { readonly order?: number; readonly controller?: number } {
  return { ...(order === undefined ? {} : { order }), ...(controller === undefined ? {} : { controller }) };
}
