/**
 * A node agent works for a moment and then waits for days: V8 is told to spare memory rather than time, before anything else runs. Without its
 * optimising compiler some 4 MiB of Node.js are never touched, and young objects get no more room than they start with. `install` may
 * have a passphrase to stretch, which needs all the speed there is.
 */

import { setFlagsFromString } from 'node:v8';

const AT_REST: ReadonlySet<string | undefined> = new Set(['run', 'join']);

if (AT_REST.has(process.argv[2])) {
  setFlagsFromString('--no-opt');
  setFlagsFromString('--semi-space-growth-factor=1');
}
