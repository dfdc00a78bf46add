/**
 * A node agent works for a moment and then waits for days: once M1 is on its way, or there is nothing to do, V8 is told to spare memory rather
 * than time. Without its optimising compiler some 4 MiB of Node.js are never touched, and young objects get no more room than they start with.
 * Not sooner: what is compiled under other flags than these is of no use any more, and that is all that Node.js brings along for its own modules.
 */

import { runInNewContext } from 'node:vm';

/** Loaded no sooner than it is needed. */
const setFlags = (...flags: readonly string[]): void => {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  for (const flag of flags) setFlagsFromString(flag);
};

/** Keeps in the state folder what V8 has compiled so far, so that the next start need not compile it (`launch`). */
export type KeepCompiled = (folder: string) => void;

export class Thrift {
  readonly #keepCompiled: KeepCompiled;
  readonly #folder: string;
  #spares = false;

  constructor(folder: string, keepCompiled: KeepCompiled) {
    this.#folder = folder;
    this.#keepCompiled = keepCompiled;
  }

  /** From here on memory counts more than time. */
  spare(): void {
    if (this.#spares) return;
    this.#spares = true;
    // Compiled code too is good for the flags it was made with.
    this.#keepCompiled(this.#folder);
    setFlags('--no-opt', '--semi-space-growth-factor=1');
  }

  /**
   * Gives back what starting and joining have left behind, a megabyte or two, before a wait. Node.js has no call for it: V8 hands its collector to
   * contexts that are made after it was asked to.
   */
  rest(): void {
    this.spare();
    setFlags('--expose-gc', '--compact-on-every-full-gc');
    (runInNewContext('gc') as () => void)();
  }
}
