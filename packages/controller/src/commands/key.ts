import {
  type ApplicationKeyOptions,
  applicationKeyOptions,
  formatApplicationKey,
  idArgument,
  warnIfExpired,
  withExamples,
} from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { missingKey } from '../missing-key.js';
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
    const keys = applicationRoots.get(idI);
    const { current } = keys ?? {};
    for (const { applicationRoot } of keys?.former ?? []) applicationRoot.wipe();
    if (current === undefined) throw missingKey(idI, keys);
    warnIfExpired(idI, current.expiresAt);
    process.stdout.write(formatApplicationKey(current.applicationRoot, idI, options));
    current.applicationRoot.wipe();
  });
}
