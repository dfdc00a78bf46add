/** Datagrams that nobody thought of: the corpus with octets changed, cut, doubled, spliced, and noise. */

import { CORPUS } from './corpus.js';
import type { Draw } from './draw.js';

/** What a daemon looks at is at most 512 octets; larger ones come whole from the corpus. */
const LARGEST_MUTANT = 600;
const LONGEST_NOISE = 64;
const ID_AT = 2;

export function mutant(draw: Draw): Buffer {
  if (draw.chance(0.1)) return draw.octets(draw.below(LONGEST_NOISE));
  const { octets } = draw.pick(CORPUS);
  if (octets.length > LARGEST_MUTANT || draw.chance(0.2)) return octets;
  const mutated = change(octets, draw);
  // Else most would be copies of one another.
  if (mutated.length >= ID_AT + 2) mutated.writeUInt16BE(draw.below(2 ** 16), ID_AT);
  return mutated;
}

function change(octets: Buffer, draw: Draw): Buffer {
  const at = draw.below(octets.length + 1);
  switch (draw.below(6)) {
    case 0:
      return Buffer.from(octets.subarray(0, at));
    case 1:
      return Buffer.concat([octets, draw.octets(1 + draw.below(LONGEST_NOISE))]);
    case 2:
      return Buffer.concat([octets.subarray(0, at), draw.octets(1 + draw.below(4)), octets.subarray(at)]);
    case 3: {
      const other = draw.pick(CORPUS).octets.subarray(0, LARGEST_MUTANT);
      return Buffer.concat([octets.subarray(0, at), other.subarray(draw.below(other.length + 1))]);
    }
    case 4:
      return Buffer.concat([octets.subarray(0, at), octets.subarray(draw.below(at + 1))]);
    default: {
      const changed = Buffer.from(octets);
      for (let i = draw.below(4); i >= 0 && changed.length > 0; i--) changed[draw.below(changed.length)] = draw.below(256);
      return changed;
    }
  }
}
