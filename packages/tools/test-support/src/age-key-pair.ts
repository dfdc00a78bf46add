// Somebody an encrypted manifest is for, in the terms of age.

import { generateIdentity, identityToRecipient } from 'age-encryption';

export interface AgeKeyPair {
  /** Secret. */
  readonly identity: string;
  readonly recipient: string;
}

export async function newAgeKeyPair(): Promise<AgeKeyPair> {
  const identity = await generateIdentity();
  return { identity, recipient: await identityToRecipient(identity) };
}
