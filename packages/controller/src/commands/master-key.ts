import { withExamples } from '@latchkey/runtime/cli';
import { formerKeyNotice, nextMasterKey } from '@latchkey/keyring';
import { Command } from 'commander';
import { type StateOptions, stateOptions, withApplicationRoots } from './state.js';

export function masterKeyCommand(): Command {
  return new Command('master-key').description("the key under which the nodes' keys are sealed here").addCommand(rotateCommand());
}

function rotateCommand(): Command {
  const command = stateOptions(
    new Command('rotate').description(
      'seal every key under a new master key, while the controller runs; after a crash, run it again to continue',
    ),
  )
    .option('--to <file>', 'file of the new master key, created if it is missing (default: the new key replaces the file in use)')
    .action(rotate);
  return withExamples(command, 'latchkey-controller master-key rotate --state ./state');
}

async function rotate(options: StateOptions & { readonly to?: string }): Promise<void> {
  await withApplicationRoots(options, async (applicationRoots, source) => {
    const next = await nextMasterKey(source, options.to, applicationRoots.keyring);
    const key = String(next.key);
    const keys = await applicationRoots.rotate(options.state, next);
    const where =
      options.to === undefined ? '' : `; it is in ${options.to}: put it where the controller looks for its master key`;
    process.stdout.write(
      `${keys} keys are sealed under the master key ${key}${where}\n${formerKeyNotice(next, 'Copies of the state folder')}\n`,
    );
  });
}
