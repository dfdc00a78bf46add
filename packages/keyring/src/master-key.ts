/**
 * Where a store's master key comes from: a 0600 file, a systemd credential, or what a command
 * prints. Never an argument.
 */

import { execFile, type ExecFileException } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KEY_LENGTH, Secret } from '@latchkey/protocol';
import { createFile, exists, isTaken, parseKey, readPlainFile, readPrivateFile, syncFolderOf } from '@latchkey/runtime/files';
import { environment } from '@latchkey/runtime/config';
import { Failure, systemCode, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { repeatInAdvice } from '@latchkey/runtime/cli';
import { type Command, Option } from 'commander';

/** The options that name a master key in another place, for messages. */
export const MASTER_KEY_NAMED =
  '--master-key-file or --master-key-command (for the registry in a controller: `registry_master_key_file:` of its configuration)';

/** A command has this long to print the key, in ms. */
const COMMAND_TIMEOUT_MS = 30_000;
/** After this time, in ms, a notice says that the command is still running. */
const WAIT_NOTICE_MS = 2_000;

const IF_SPOILED = 'Put back the copy that you kept of it: without it the keys in the store cannot be read.';

export type MasterKeySource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'credential'; readonly path: string }
  | { readonly kind: 'command'; readonly command: string };

/** The options of the command line that name the master key. */
export interface MasterKeyOptions {
  readonly masterKeyFile?: string;
  readonly masterKeyCommand?: string;
}

/** `--master-key-file` and `--master-key-command`, on every command that opens a store. */
export function masterKeyOptions(command: Command): Command {
  const fileOption = new Option(
    '--master-key-file <file>',
    'master key of the store, 32 hex digits, mode 0600 (default: master.key beside the store)',
  )
    .env('LATCHKEY_MASTER_KEY_FILE')
    .conflicts('masterKeyCommand');
  const commandOption = new Option('--master-key-command <command>', 'a command that prints the master key, run by sh').env(
    'LATCHKEY_MASTER_KEY_COMMAND',
  );
  // A flag overrides the environment, which is read after all flags. So the flag of one option also
  // discards the variable of the other option.
  command.on(`option:${fileOption.name()}`, () => delete commandOption.envVar);
  command.on(`option:${commandOption.name()}`, () => delete fileOption.envVar);
  return command.addOption(repeatInAdvice(fileOption)).addOption(repeatInAdvice(commandOption));
}

/**
 * Returns the source of the master key. It tries the options first, then systemd's credential
 * `name`, then the file `master.key` in `folder`.
 */
export async function findMasterKey(options: MasterKeyOptions, name: string, folder: string): Promise<MasterKeySource> {
  if (options.masterKeyCommand !== undefined) return { kind: 'command', command: options.masterKeyCommand };
  if (options.masterKeyFile !== undefined) return { kind: 'file', path: options.masterKeyFile };
  const credentials = environment('CREDENTIALS_DIRECTORY');
  if (credentials !== undefined && (await exists(join(credentials, name)))) {
    return { kind: 'credential', path: join(credentials, name) };
  }
  return { kind: 'file', path: join(folder, 'master.key') };
}

/** @throws UsageFailure if the key is missing or malformed */
export async function readMasterKey(source: MasterKeySource): Promise<Secret> {
  switch (source.kind) {
    case 'file':
      if (!(await exists(source.path))) {
        throw new UsageFailure(`the master key ${source.path} is not there`, {
          advice: `Name it with ${MASTER_KEY_NAMED}. Without it the keys in the store cannot be read.`,
        });
      }
      return parseKey(await readPrivateFile(source.path), source.path, IF_SPOILED);
    case 'credential':
      // systemd protects the folder. The mode of a file in it says nothing.
      return parseKey(await readPlainFile(source.path), source.path);
    case 'command':
      return parseKey(await runKeyCommand(source.command), 'the output of the master key command');
  }
}

/** Returns the master key of `source`. Generates a new key if the file is missing. */
export async function readOrCreateMasterKey(source: MasterKeySource): Promise<Secret> {
  if (source.kind === 'file' && !(await isTaken(source.path))) {
    try {
      return await createMasterKey(source.path);
    } catch (error) {
      // Somebody else has made one since: that one counts.
      if (!(error instanceof Failure) || systemCode(error.cause) !== 'EEXIST') throw error;
    }
  }
  return readMasterKey(source);
}

/** Generates a master key, and creates its file. */
export async function createMasterKey(path: string): Promise<Secret> {
  const octets = randomBytes(KEY_LENGTH);
  const key = Secret.from(octets);
  octets.fill(0);
  await createFile(path, `${key.toHex()}\n`);
  return key;
}

/**
 * Returns the archive path of the master key in `inUse`, which the key in `next` replaces. The time
 * in the name is the modification time of `next`. A rename preserves that time, so the name is the
 * same after a crash.
 */
export async function archivedKeyPath(inUse: string, next: string): Promise<string> {
  return `${inUse}.before-${(await stat(next)).mtime.toISOString().replaceAll(':', '')}`;
}

/** Archives a master key before it is replaced, because earlier backups open only under it. */
export async function archiveMasterKey(key: Secret, path: string): Promise<void> {
  const archived = (await isTaken(path)) ? await readMasterKey({ kind: 'file', path }) : undefined;
  if (archived?.equals(key) !== true) await createFile(path, `${key.toHex()}\n`);
}

/** Renames the file of the new master key over that of the old one, durably. */
export async function replaceMasterKey(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
    await syncFolderOf(to);
  } catch (error) {
    throw systemFailure(`cannot replace ${to}`, error);
  }
}

function runKeyCommand(command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const noticeTimer = setTimeout(() => {
      process.stderr.write(`waiting for the master key command, ${COMMAND_TIMEOUT_MS / 1000} s at most\n`);
    }, WAIT_NOTICE_MS);
    const child = execFile('/bin/sh', ['-c', command], { timeout: COMMAND_TIMEOUT_MS, maxBuffer: 4_096 }, (error, stdout) => {
      clearTimeout(noticeTimer);
      if (error === null) return resolve(stdout);
      const how = describeExit(error);
      reject(new Failure(`the master key command ${how}`, { advice: 'Run it by hand, to see what it prints.' }));
    });
    child.stderr?.pipe(process.stderr);
  });
}

function describeExit(error: ExecFileException): string {
  if (error.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return 'printed more than a key';
  return error.killed === true
    ? `did not end within ${COMMAND_TIMEOUT_MS / 1000} s`
    : `ended with ${error.code ?? error.signal ?? 'an error'}`;
}
