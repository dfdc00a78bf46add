import { formatId } from '@latchkey/protocol';
import {
  type ApplicationKeyOptions,
  applicationKeyOptions,
  formatApplicationKey,
  idArgument,
  STATE_FOLDERS,
  warnIfExpired,
  withExamples,
} from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { type StateOptions, stateOptions, withApplicationRoots } from './state.js';

export function keyCommand(): Command {
  const command = applicationKeyOptions(
    stateOptions(new Command('key'))
      .description('an application key shared with a node that joined through this controller, from its application root')
      .argument('<id>', 'ID_i, 8 hex digits', idArgument),
  ).action(key);
  return withExamples(command, 'latchkey-controller key 0000a1b2 --state ./state --label dtls-psk');
}

async function key(idI: number, options: ApplicationKeyOptions & StateOptions): Promise<void> {
  await withApplicationRoots(options, (applicationRoots) => {
    const stored = applicationRoots.get(idI);
    if (stored === undefined) {
      // A join needs no write here: the key may still wait for room on the disk, or have been lost
      // with a store.
      throw new Failure(`this controller has no key of node ${formatId(idI)}`, {
        advice:
          "If it has joined, the controller's log says why its key is not stored; it is once the node renews it. Whether it has, on the machine of the registry:",
        run: [['latchkey-auth-server', 'node', 'why', formatId(idI), '--data', STATE_FOLDERS['auth-server']]],
      });
    }
    warnIfExpired(idI, stored.lifetime === 0 ? undefined : stored.ts + 1000 * stored.lifetime);
    process.stdout.write(formatApplicationKey(stored.applicationRoot, idI, options));
    stored.applicationRoot.wipe();
  });
}
