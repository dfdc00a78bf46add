/** `pnpm demo` */

import { once } from 'node:events';
import { program, withExamples } from '@latchkey/runtime/cli';
import { EXIT } from '@latchkey/runtime/failure';
import { CommanderError } from 'commander';
import { demo } from './demo.js';
import { demoConsole } from './demo-console.js';
import { TestNetwork } from './network.js';

/** When somebody ends the demo, or nobody reads it any more, it clears up and prints no more. */
const interrupted = new AbortController();
let network: TestNetwork | undefined;
let isServing = false;

function interrupt(): void {
  interrupted.abort();
  if (!isServing) void network?.remove();
}

function print(text = ''): void {
  interrupted.signal.throwIfAborted();
  process.stdout.write(`${text}\n`);
}

async function play({ console: showsConsole = false }: { readonly console?: boolean }): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt);
  process.stdout.on('error', interrupt);
  try {
    network = await TestNetwork.create();
    const { isSame, server } = await demo(network, print);
    process.exitCode = isSame ? EXIT.ok : EXIT.failed;
    if (showsConsole) await serve(network, server);
  } catch (error) {
    process.exitCode = EXIT.failed;
    if (!interrupted.signal.aborted)
      process.stderr.write(`The demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
  } finally {
    await network?.remove();
  }
}

/** Until Ctrl-C. That is no failure: the demo has no other end. */
async function serve(running: TestNetwork, server: string): Promise<void> {
  const { api } = await demoConsole(running, server, print);
  running.dropLogs();
  isServing = true;
  const isInterrupted = await Promise.race([once(interrupted.signal, 'abort').then(() => true), api.ended().then(() => false)]);
  await running.stop();
  if (!isInterrupted) throw new Error('the API has ended');
}

const command = withExamples(
  program('demo', 'plays the steps of the draft on loopback', new URL('../package.json', import.meta.url)).option(
    '--console',
    'then keep the network running, and serve the console',
  ),
  'npx -y pnpm@12 demo --console',
)
  .showHelpAfterError('(--help shows how it is used)')
  .exitOverride()
  .action(play);
try {
  await command.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
}
