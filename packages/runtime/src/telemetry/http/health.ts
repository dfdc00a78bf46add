/**
 * `health`: asks a daemon on this machine how it is, for the health checks of containers and
 * scripts.
 */

import { Command } from 'commander';
import { withExamples } from '../../cli/cli.js';
import { httpOption } from '../../net/listen-address.js';
import type { HealthOptions } from './health-request.js';

/** @param name of the program, `latchkey-controller` say */
export function healthCommand(name: string): Command {
  const command = new Command('health')
    .description('ask the daemon whether it serves; exit code 0 if it does, 1 if not')
    .addOption(httpOption('where it serves health and metrics'))
    .option('--config <file>', "the daemon's configuration, whose `http` says where")
    .option('--ready', 'ask whether it can do its work: its store and its server too')
    // Loaded here only, because a node-agent that fetches a key does not need it.
    .action(async (options: HealthOptions) => (await import('./health-request.js')).askHealth(options));
  return withExamples(
    command,
    `${name} health --http 127.0.0.1:9464`,
    `${name} health --config /etc/latchkey/${name.replace('latchkey-', '')}.yaml --ready`,
  );
}
