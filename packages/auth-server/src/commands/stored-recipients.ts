/** Recipients that are stored for an installer, for commands that hand keys over. */

import { describeRecipients } from '@latchkey/operations';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Option } from 'commander';
import type { CommandContext } from './operation-call.js';
import { installerArgument } from './order-options.js';

interface RecipientOptions {
  readonly recipient?: readonly string[];
  /** Name of the installer. */
  readonly toInstaller?: string;
}

export function toInstallerOption(): Option {
  return new Option(
    '--to-installer <name>',
    'encrypt the manifest to the recipients that are stored for this installer, which `installer show` prints',
  ).argParser(installerArgument);
}

/**
 * Returns the options with the stored recipients as if they had been given: they are those of now,
 * whatever is stored later.
 *
 * @throws UsageFailure if the installer has none
 */
export async function withStoredRecipients<O extends RecipientOptions>(context: CommandContext, options: O): Promise<O> {
  const { toInstaller: name, recipient = [] } = options;
  if (name === undefined) return options;
  // Loaded for this option only: it opens another store.
  const { atInstallers, installerNamed } = await import('./installer.js');
  const { recipients } = await atInstallers(context, (installers) => installerNamed(installers, name));
  if (recipients.length === 0)
    throw new UsageFailure(`no recipient is stored for installer ${name}`, {
      advice: 'Nothing was changed. Store one that `age-keygen` has printed for the installer:',
      run: [['latchkey-auth-server', 'installer', 'set', name, '--recipient', 'age1...']],
    });
  return { ...options, recipient: [...new Set([...recipients, ...recipient])] };
}

/** For a person, who compares it with what the installer has. Empty without a name. */
export function describeReaders({ toInstaller, recipient = [] }: RecipientOptions): string {
  return toInstaller === undefined ? '' : `\nEncrypted to ${toInstaller}: ${describeRecipients(recipient)}`;
}
