/**
 * Datagrams that nobody thought of: the corpus with octets changed, cut, doubled, spliced, and
 * noise.
 */

import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { CORPUS } from './corpus.js';

/** A daemon parses at most 512 octets; larger datagrams come from the corpus. */
const MAX_MUTANT_LENGTH = 600;
const MAX_NOISE_LENGTH = 64;
const MESSAGE_ID_OFFSET = 2;

export function mutant(random: SeededRandom): Buffer {
  if (random.uniform() < 0.1) return Buffer.from(random.octets(random.below(MAX_NOISE_LENGTH)));
  const { octets } = random.pick(CORPUS);
  if (octets.length > MAX_MUTANT_LENGTH || random.uniform() < 0.2) return octets;
  const mutated = mutate(octets, random);
  // Else most would be copies of one another.
  if (mutated.length >= MESSAGE_ID_OFFSET + 2) mutated.writeUInt16BE(random.below(2 ** 16), MESSAGE_ID_OFFSET);
  return mutated;
}

function mutate(octets: Buffer, random: SeededRandom): Buffer {
  const at = random.below(octets.length + 1);
  switch (random.below(6)) {
    case 0:
      return Buffer.from(octets.subarray(0, at));
    case 1:
      return Buffer.concat([octets, random.octets(1 + random.below(MAX_NOISE_LENGTH))]);
    case 2:
      return Buffer.concat([octets.subarray(0, at), random.octets(1 + random.below(4)), octets.subarray(at)]);
    case 3: {
      const other = random.pick(CORPUS).octets.subarray(0, MAX_MUTANT_LENGTH);
      return Buffer.concat([octets.subarray(0, at), other.subarray(random.below(other.length + 1))]);
    }
    case 4:
      return Buffer.concat([octets.subarray(0, at), octets.subarray(random.below(at + 1))]);
    default: {
      const changed = Buffer.from(octets);
      for (let i = random.below(4); i >= 0 && changed.length > 0; i--) changed[random.below(changed.length)] = random.below(256);
      return changed;
    }
  }
}
