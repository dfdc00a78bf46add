/**
 * Makes V8 favour memory over speed when M1 has been sent, or the agent is idle. A node agent works
 * briefly and then waits for days. Without the optimising compiler some 4 MiB of Node.js are never
 * used, and the space for young objects keeps its initial size. The flags are set only then,
 * because changing them invalidates cached bytecode, including the bytecode that Node.js ships for
 * its own modules.
 */

import { runInNewContext } from 'node:vm';

/** Loaded no sooner than it is needed. */
const setV8Flags = (...flags: readonly string[]): void => {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  for (const flag of flags) setFlagsFromString(flag);
};

/**
 * Keeps in the state folder what V8 has compiled so far, so that the next start need not compile it
 * (`launch`).
 */
export type SaveCodeCache = (folder: string) => void;

export class MemorySaver {
  readonly #saveCodeCache: SaveCodeCache;
  readonly #folder: string;
  #reduced = false;

  constructor(folder: string, saveCodeCache: SaveCodeCache) {
    this.#folder = folder;
    this.#saveCodeCache = saveCodeCache;
  }

  /** From here on memory counts more than time. */
  reduceFootprint(): void {
    if (this.#reduced) return;
    this.#reduced = true;
    // Compiled code too is good for the flags it was made with.
    this.#saveCodeCache(this.#folder);
    setV8Flags('--no-opt', '--semi-space-growth-factor=1');
  }

  /**
   * Frees a megabyte or two of garbage from starting and joining, before a wait. Node.js has no
   * call for it. V8 exposes its collector only to contexts that are created after the flag was set.
   */
  collectGarbage(): void {
    this.reduceFootprint();
    setV8Flags('--expose-gc', '--compact-on-every-full-gc');
    (runInNewContext('gc') as () => void)();
  }
}
