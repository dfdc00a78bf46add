/**
 * A bad link as a process: carries datagrams between the nodes on one side and their controller on
 * the other.
 */

import { listenOption, main, peerArgument, program, withExamples } from '@latchkey/runtime/cli';
import type { Endpoint } from '@latchkey/runtime/net';
import { UsageFailure } from '@latchkey/runtime/failure';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { InvalidArgumentError } from 'commander';
import { type FaultProbabilities, FaultyNetwork } from './soak/faulty-network.js';

/** Between lines that tell what happened, in ms. */
const REPORT_INTERVAL_MS = 60_000;

interface Options extends FaultProbabilities {
  readonly listen?: readonly Endpoint[];
  readonly to: Endpoint;
}

async function run({ listen = [{ host: '0.0.0.0', port: 5683 }], to, ...faults }: Options): Promise<void> {
  const [at] = listen;
  if (at === undefined || listen.length > 1) throw new UsageFailure('a link listens in one place');
  const stopping = new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve);
  });
  const link = await FaultyNetwork.open(at, to, faults, new SeededRandom(Date.now(), 'lossy link'));
  log('carrying');
  const timer = setInterval(() => log('carried', link.counts), REPORT_INTERVAL_MS);
  await stopping;
  clearInterval(timer);
  link.close();
  log('stopped', link.counts);
}

function log(msg: string, fields: object = {}): void {
  process.stdout.write(
    `${JSON.stringify({ level: 'info', time: new Date().toISOString(), name: 'lossy-link', ...fields, msg })}\n`,
  );
}

function probabilityArgument(text: string): number {
  const value = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || value > 1) throw new InvalidArgumentError('expected a chance from 0 to 1, e.g. 0.2');
  return value;
}

await main(
  withExamples(
    program(
      'lossy-link',
      'A link that loses, delays, doubles, reorders and corrupts',
      new URL('../package.json', import.meta.url),
    )
      .option('--listen <host:port>', 'where the nodes send to (default 0.0.0.0:5683)', listenOption)
      .requiredOption('--to <host:port>', 'the controller', peerArgument)
      .option('--lost <chance>', 'of a datagram, one way', probabilityArgument, 0)
      .option('--delayed <chance>', 'by up to 1.5 s', probabilityArgument, 0)
      .option('--doubled <chance>', 'carried twice', probabilityArgument, 0)
      .option('--reordered <chance>', 'held until others have overtaken it', probabilityArgument, 0)
      .option('--corrupted <chance>', 'up to three octets changed', probabilityArgument, 0)
      .action(run),
    'node dist/lossy-link.js --to 192.0.2.1:5683 --lost 0.2 --delayed 0.1',
  ),
);
