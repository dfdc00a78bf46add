/**
 * How many AES blocks each side encrypts for one join: counted while the roles run, not guessed.
 */

import { BlockCipher } from '@latchkey/protocol';
import { InProcessJoin, type Side } from '../in-process-join.js';

export function countBlocks(): Readonly<Record<Side, number>> {
  const counts = { node: 0, controller: 0, 'auth-server': 0 };
  const { encryptInPlace: original } = BlockCipher.prototype as { readonly encryptInPlace: (this: BlockCipher) => void };
  const runAs = <T>(side: Side, run: () => T): T => {
    BlockCipher.prototype.encryptInPlace = function count(): void {
      counts[side] += 1;
      original.call(this);
    };
    try {
      return run();
    } finally {
      BlockCipher.prototype.encryptInPlace = original;
    }
  };
  new InProcessJoin(runAs).join();
  return counts;
}
