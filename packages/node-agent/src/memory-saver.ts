/**
 * A node agent works for a moment and then waits for days: once M1 is on its way, or there is
 * nothing to do, V8 is told to spare memory rather than time. Without its optimising compiler some
 * 4 MiB of Node.js are never touched, and young objects get no more room than they start with. Not
 * sooner: what is compiled under other flags than these is of no use any more, and that is all that
 * Node.js brings along for its own modules.
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
   * Gives back what starting and joining have left behind, a megabyte or two, before a wait.
   * Node.js has no call for it: V8 hands its collector to contexts that are made after it was asked
   * to.
   */
  collectGarbage(): void {
    this.reduceFootprint();
    setV8Flags('--expose-gc', '--compact-on-every-full-gc');
    (runInNewContext('gc') as () => void)();
  }
}
