/** The application keys that `key` prints. It loads no command line. */

import { deriveApplicationKey, formatId, type Secret } from '@latchkey/protocol';
import { Failure } from './failure.js';
import type { PrintedGeneration } from './key-output.js';

/** Derives the keys of one generation. */
export function deriveKeys(
  applicationRoot: Secret,
  idI: number,
  generation: Pick<PrintedGeneration, 'kid' | 'not_after' | 'until'>,
  { label: labels, octets }: { readonly label: readonly string[]; readonly octets: number },
): PrintedGeneration {
  const keys = labels.map((label) => {
    const derived = deriveApplicationKey(applicationRoot, label, idI, octets);
    const key = Buffer.from(derived.buffer, derived.byteOffset, derived.length).toString('hex');
    derived.fill(0);
    return [label, key] as const;
  });
  return { ...generation, keys: Object.fromEntries(keys), fingerprint: applicationRoot.fingerprint };
}

/** Failure for an expired key. @param expiry ms since the epoch, if it is known */
export function expiredFailure(idI: number, expiry: number | undefined): Failure {
  const since = expiry === undefined ? 'has expired' : `expired at ${new Date(expiry).toISOString()}`;
  return new Failure(`the key of node ${formatId(idI)} ${since}`, {
    advice: 'Let the node join again. With --allow-expired the key is printed all the same.',
  });
}

/** Failure if `--previous` finds no former key. */
export function noFormerKey(idI: number): Failure {
  return new Failure(`node ${formatId(idI)} has no former key that peers may still use`, {
    advice: 'Use its current key: leave out --previous.',
  });
}
