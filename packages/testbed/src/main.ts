/** `pnpm demo` */

import { demo } from './demo.js';
import { Network } from './network.js';

/** Plays the demo and gives its exit code; whatever happens, no process and no folder is left. */
async function play(): Promise<number> {
  const network = await Network.create();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void network.remove().then(() => process.exit(1)));
  }
  try {
    return (await demo(network, (text = '') => process.stdout.write(`${text}\n`))) ? 0 : 1;
  } finally {
    await network.remove();
  }
}

try {
  process.exitCode = await play();
} catch (error) {
  process.stderr.write(`The demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
