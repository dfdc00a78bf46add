/** The command in `process.argv`. `pnpm release` bundles it as what `launcher` starts. */

import { main } from '@latchkey/runtime/cli';
import { controllerProgram } from './program.js';

export function start(): Promise<void> {
  return main(controllerProgram());
}
