/** The installer's manifest as a file: plain, or encrypted to a passphrase or to age recipients. */

import { join } from 'node:path';
import {
  checkNewPassphrase,
  checkRecipients,
  encryptManifest,
  formatManifest,
  type ManifestLine,
  type ManifestRecipients,
  parsePassphrase,
} from '@latchkey/provisioning';
import type { BeforeCommit, KeyOutput } from '@latchkey/operations';
import { createFile, ensurePrivateFolder, isTaken, readSecretFile } from '@latchkey/runtime/files';
import { readSecretInput } from '@latchkey/runtime/cli';
import { type CommandLine, UsageFailure } from '@latchkey/runtime/failure';
import { type Command, Option } from 'commander';
import { describeReaders, toInstallerOption } from './stored-recipients.js';

export interface ManifestOutputOptions {
  readonly out: string;
  readonly recipient?: readonly string[];
  /** Name of an installer: `withStoredRecipients` adds its recipients to `recipient`. */
  readonly toInstaller?: string;
  readonly passphraseFile?: string;
}

export function manifestOutputOptions(command: Command): Command {
  return command
    .requiredOption('--out <dir>', 'folder for manifest.csv, which holds the initial keys')
    .addOption(
      new Option('--recipient <age1...>', 'encrypt the manifest to an age recipient; may be given again').argParser(
        (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
      ),
    )
    .addOption(toInstallerOption())
    .addOption(
      new Option(
        '--passphrase-file <file>',
        'encrypt the manifest to a passphrase; - reads standard input, unseen where it is typed',
      ).conflicts(['recipient', 'toInstaller']),
    );
}

/** These options as words of a command in advice: the same readers get its manifest. */
export function manifestOutputWords({ out, recipient = [], passphraseFile }: ManifestOutputOptions): CommandLine {
  return [
    '--out',
    out,
    ...recipient.flatMap((one) => ['--recipient', one]),
    ...(passphraseFile === undefined ? [] : ['--passphrase-file', passphraseFile]),
  ];
}

/** A free path for a manifest, and the permissions of the file that is written there. */
export class ManifestOutput implements KeyOutput {
  readonly path: string;
  readonly recipients: ManifestRecipients | undefined;
  /** For a person: whom it is encrypted to. */
  readonly #readers: string;

  private constructor(path: string, recipients: ManifestRecipients | undefined, readers: string) {
    this.path = path;
    this.recipients = recipients;
    this.#readers = readers;
  }

  /** For the audit log. */
  get kind(): KeyOutput['kind'] {
    return this.recipients === undefined ? 'manifest' : 'encrypted manifest';
  }

  /**
   * Called before keys are generated or anything is changed, so that faults of the options are
   * found first.
   */
  static async prepare(options: ManifestOutputOptions): Promise<ManifestOutput> {
    const { out, recipient, passphraseFile, toInstaller } = options;
    // The manifest would be plain.
    if (toInstaller !== undefined && recipient === undefined) throw new RangeError('no recipient was looked up');
    const recipients = await recipientsFrom(recipient, passphraseFile);
    await ensurePrivateFolder(out);
    const path = join(out, recipients === undefined ? 'manifest.csv' : 'manifest.csv.age');
    if (await isTaken(path))
      throw new UsageFailure(`${path} exists already`, { advice: 'Nothing was changed. Choose another folder.' });
    return new ManifestOutput(path, recipients, describeReaders(options));
  }

  /**
   * Renames the manifest to its final name once `beforeCommit` has written its content to the
   * registry. So no manifest without effect is ever used.
   */
  async write(lines: Iterable<ManifestLine>, beforeCommit?: BeforeCommit): Promise<void> {
    await createFile(this.path, await this.#contentOf(lines), async () => {
      const instead = await beforeCommit?.();
      return instead && this.#contentOf(instead);
    });
  }

  async #contentOf(lines: Iterable<ManifestLine>): Promise<string | Uint8Array> {
    const text = formatManifest(lines);
    return this.recipients === undefined ? text : encryptManifest(text, this.recipients);
  }

  /** A manifest that the machine of the registry encrypted. */
  get encrypted(): KeyOutput['encrypted'] {
    if (this.recipients === undefined || 'passphrase' in this.recipients) return undefined;
    return { recipients: this.recipients.recipients, write: (octets) => createFile(this.path, octets) };
  }

  /** Advice for the user who created the order. */
  get advice(): string {
    if (this.recipients === undefined)
      return `The manifest is ${this.path}. It holds the initial keys: hand it to the installer and nobody else.`;
    const who = 'passphrase' in this.recipients ? 'whoever has the passphrase' : 'its recipients';
    return `The manifest is ${this.path}, encrypted: ${who} can read it.${this.#readers}`;
  }
}

async function recipientsFrom(
  recipients: readonly string[] | undefined,
  passphraseFile: string | undefined,
): Promise<ManifestRecipients | undefined> {
  if (recipients !== undefined) {
    await checkRecipients(recipients);
    return { recipients };
  }
  if (passphraseFile === undefined) return undefined;
  if (passphraseFile === '-') return { passphrase: await promptNewPassphrase() };
  const passphrase = parsePassphrase(await readSecretFile(passphraseFile, '--passphrase-file'), passphraseFile);
  checkNewPassphrase(passphrase);
  return { passphrase };
}

/** Who types it does not see it, and types it twice. */
async function promptNewPassphrase(): Promise<string> {
  const promptPassphrase = async (prompt: string): Promise<string> =>
    parsePassphrase(await readSecretInput(prompt, 'a passphrase'), 'standard input');
  const passphrase = await promptPassphrase('New passphrase (it is not shown):');
  checkNewPassphrase(passphrase);
  if (process.stdin.isTTY && (await promptPassphrase('The same once more:')) !== passphrase)
    throw new UsageFailure('the two passphrases differ', { advice: 'Nothing was changed. Try again.' });
  return passphrase;
}
