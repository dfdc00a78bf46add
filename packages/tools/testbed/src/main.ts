/** `pnpm demo` */

import { demo } from './demo.js';
import { TestNetwork } from './network.js';

/** Once somebody wants it to end, or nobody reads it any more, it clears up and says no more. */
const interrupted = new AbortController();
let network: TestNetwork | undefined;

function interrupt(): void {
  interrupted.abort();
  void network?.remove();
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt);
process.stdout.on('error', interrupt);

function print(text = ''): void {
  interrupted.signal.throwIfAborted();
  process.stdout.write(`${text}\n`);
}

try {
  network = await TestNetwork.create();
  process.exitCode = (await demo(network, print)) ? 0 : 1;
} catch (error) {
  process.exitCode = 1;
  if (!interrupted.signal.aborted)
    process.stderr.write(`The demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
} finally {
  await network?.remove();
}
