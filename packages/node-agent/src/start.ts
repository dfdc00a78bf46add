/** The command in `process.argv`. `pnpm release` bundles it as what `launch` starts. */

import { main } from '@latchkey/runtime';
import { nodeAgentProgram } from './program.js';
import type { KeepCompiled } from './thrift.js';

export function start(keepCompiled?: KeepCompiled): Promise<void> {
  return main(nodeAgentProgram({ asked: process.argv[2], keepCompiled }));
}
