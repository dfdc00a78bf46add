// Somebody an encrypted manifest is for, in the terms of age.

import { generateIdentity, identityToRecipient } from 'age-encryption';

export interface AgeReader {
  /** Secret. */
  readonly identity: string;
  readonly recipient: string;
}

export async function newAgeReader(): Promise<AgeReader> {
  const identity = await generateIdentity();
  return { identity, recipient: await identityToRecipient(identity) };
}
