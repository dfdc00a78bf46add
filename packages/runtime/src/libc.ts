/** The C library of this process, be it glibc or musl. What calling it takes is loaded where something is called alone. */

import { createRequire } from 'node:module';
import type koffi from 'koffi';
import type { LibraryHandle } from 'koffi';

interface Libc {
  readonly library: LibraryHandle;
  /** The name of the error that the last call left: `EAGAIN`, say. */
  readonly errorName: () => string;
}

/** Throws where koffi has nothing for this machine. */
export function loadLibc(): Libc {
  const { errno, load, os } = createRequire(import.meta.url)('koffi') as typeof koffi;
  return {
    library: load(null),
    errorName: () => Object.entries(os.errno).find(([, number]) => number === errno())?.[0] ?? 'unknown',
  };
}
