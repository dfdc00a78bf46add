import { deriveApplicationRoot, formatId } from '@latchkey/protocol';
import {
  type ApplicationKeyOptions,
  applicationKeyOptions,
  formatApplicationKey,
  warnIfExpired,
  withExamples,
} from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { expiryOf, NodeFile } from '../node-file.js';
import { CumulativeUptime } from '../cumulative-uptime.js';
import { stateOption } from './state.js';

export function keyCommand(): Command {
  const command = applicationKeyOptions(
    new Command('key').description("an application key from this node's PSK; the PSK itself stays here").addOption(stateOption()),
  ).action(key);
  return withExamples(
    command,
    'latchkey-node-agent key --state ./node --label dtls-psk',
    'latchkey-node-agent key --state ./node --label oscore-master-secret --format base64',
  );
}

async function key(options: ApplicationKeyOptions & { readonly state: string }): Promise<void> {
  const { record } = await NodeFile.open(options.state);
  const { idI, confirmed, initial } = record.state;
  if (initial) {
    throw new Failure(`node ${formatId(idI)} has only its initial key, which others know: no application key comes from it`, {
      advice: 'Let it join first, if no agent runs that does:',
      run: [['latchkey-node-agent', 'join']],
    });
  }
  warnIfExpired(idI, expiryOf(record, new CumulativeUptime(record.powered).clocks()));
  const applicationRoot = deriveApplicationRoot(confirmed, idI);
  process.stdout.write(formatApplicationKey(applicationRoot, idI, options));
  applicationRoot.wipe();
}
