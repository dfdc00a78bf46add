/** `pnpm demo` */

import { demo } from './demo.js';
import { Network } from './network.js';

const network = await Network.create();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void network.remove().then(() => process.exit(1)));
}
try {
  const same = await demo(network, (text = '') => process.stdout.write(`${text}\n`));
  process.exitCode = same ? 0 : 1;
} catch (error) {
  process.stderr.write(`The demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  await network.remove();
}
