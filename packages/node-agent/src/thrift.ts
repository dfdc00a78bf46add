/**
 * A node agent works for a moment and then waits for days: V8 is told to spare memory rather than time, before anything else runs. Without its
 * optimising compiler some 4 MiB of Node.js are never touched, and young objects get no more room than they start with. `install` may
 * have a passphrase to stretch, which needs all the speed there is.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const AT_REST: ReadonlySet<string | undefined> = new Set(['run', 'join']);

if (AT_REST.has(process.argv[2])) {
  setFlagsFromString('--no-opt');
  setFlagsFromString('--semi-space-growth-factor=1');
}

/**
 * Gives back what starting and joining have left behind, a megabyte or two, before a wait. Node.js has no call for it: V8 hands its collector to
 * contexts that are made after it was asked to.
 */
export function giveBackMemory(): void {
  setFlagsFromString('--expose-gc');
  setFlagsFromString('--compact-on-every-full-gc');
  (runInNewContext('gc') as () => void)();
}
