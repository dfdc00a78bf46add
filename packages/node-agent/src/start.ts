/** The command in `process.argv`. `pnpm release` bundles it as what `launch` starts. */

import { main } from '@latchkey/runtime/cli';
import { nodeAgentProgram } from './program.js';
import type { SaveCodeCache } from './memory-saver.js';

export function start(saveCodeCache?: SaveCodeCache): Promise<void> {
  return main(nodeAgentProgram({ commandName: process.argv[2], saveCodeCache }));
}
