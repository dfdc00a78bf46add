/**
 * What a controller's TIDs stand on: one file on the disk of its machine, and its process's time.
 */

import { Failure } from '@latchkey/runtime/failure';
import type { TidEnvironment } from '@latchkey/controller/tid-allocator';
import type { Process } from './process.js';
import type { SimulatedFile } from './simulated-file.js';

export function tidEnvironment(process: Process, file: SimulatedFile): TidEnvironment {
  return {
    read: () => Promise.resolve(file.read()),
    replace: (path, text) =>
      new Promise((resolve, reject) => {
        file.replace(text, (written) => {
          process.simulation.unsettled();
          if (written) resolve();
          else reject(new Failure(`cannot write ${path}`));
        });
      }),
    now: () => process.monotonicMs,
    // Small, so that a world sees many of them stored.
    blocks: { first: 4n, largest: 16n },
  };
}
