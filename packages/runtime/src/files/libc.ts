/**
 * The C library of this process: glibc or musl. The module for native calls is loaded only when a
 * function is called.
 */

import { createRequire } from 'node:module';
import type koffi from 'koffi';
import type { LibraryHandle } from 'koffi';

interface Libc {
  readonly library: LibraryHandle;
  /** Reads a variable that holds a pointer. */
  readonly pointer: (name: string) => unknown;
  /** Allocates memory that is never freed. */
  readonly allocate: (octets: number) => unknown;
  /** The name of the error that the last call left: `EAGAIN`, say. */
  readonly errorName: () => string;
}

/** Throws where koffi has nothing for this machine. */
export function loadLibc(): Libc {
  const { alloc, decode, errno, load, os } = createRequire(import.meta.url)('koffi') as typeof koffi;
  const library = load(null);
  return {
    library,
    pointer: (name) => decode(library.symbol(name), 'void *'),
    allocate: (octets) => alloc('char', octets),
    errorName: () => Object.entries(os.errno).find(([, number]) => number === errno())?.[0] ?? 'unknown',
  };
}
