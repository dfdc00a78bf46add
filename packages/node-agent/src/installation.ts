/**
 * Sources of an installation: the label of a node, its line of a manifest, or options and a file
 * with the key.
 */

import { formatId } from '@latchkey/protocol';
import { checkPrivateFile, parseKey, readOctets, readSecretFile, readStandardOctets } from '@latchkey/runtime/files';
import {
  decryptManifest,
  detectEncryption,
  findManifestLine,
  isLabel,
  MAX_MANIFEST,
  type ManifestLine,
  parseIdentities,
  parseLabel,
  parsePassphrase,
} from '@latchkey/provisioning';
import type { Endpoint } from '@latchkey/runtime/net';
import { readSecretInput } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';

/** 32 hex digits. */
const KEY_PATTERN = /^[0-9a-fA-F]{32}$/;
const NEVER_AN_ARGUMENT = 'An initial key is never an argument: others could read it.';
const STANDARD_INPUT = '-';

/** Options of the command line. They name files, or `-` for standard input. */
export interface InstallationOptions {
  readonly id?: number;
  readonly label?: string;
  readonly manifest?: string;
  readonly passphraseFile?: string;
  readonly identity?: string;
  readonly controller?: Endpoint;
  readonly controllerId?: number;
  readonly ikFile?: string;
  readonly deviceKeyFile?: string;
}

/** What is put into the device. */
export interface Installation extends Omit<ManifestLine, 'idC'> {
  /** `undefined`: the first controller that proves the key. */
  readonly idC: number | undefined;
}

export async function readInstallation(options: InstallationOptions): Promise<Installation> {
  const { label, manifest, ikFile } = options;
  const sources = [
    ...(label === undefined ? [] : ['--label']),
    ...(manifest === undefined ? [] : ['--manifest']),
    ...(ikFile === undefined ? [] : ['--ik-file']),
  ];
  if (sources.length > 1) {
    throw new UsageFailure(`${sources.join(' and ')} exclude each other`, { advice: 'Each tells the initial key: give one.' });
  }
  if (manifest === undefined && (options.passphraseFile !== undefined || options.identity !== undefined)) {
    throw new UsageFailure('--passphrase-file and --identity are for an encrypted --manifest');
  }
  if (label !== undefined) return fromLabel(options, label);
  if (manifest !== undefined) return fromManifest(options, manifest);
  return fromOptions(options);
}

async function fromLabel(options: InstallationOptions, path: string): Promise<Installation> {
  rejectControllerOption(options, '--label');
  if (isLabel(path)) {
    throw new UsageFailure('--label takes the name of a file, or -, not the label itself', {
      advice: `${NEVER_AN_ARGUMENT} Run it with --label - and scan the label, or pipe it in.`,
    });
  }
  const line = parseLabel(await readSecret(path, 'Scan the label (it is not shown):', 'a label', '--label'), displayName(path));
  if (options.id !== undefined && options.id !== line.idI) {
    throw new UsageFailure(`the label is of node ${formatId(line.idI)}, and --id says ${formatId(options.id)}`, {
      advice: 'Scan the label of this device, or leave out --id.',
    });
  }
  return line;
}

async function fromManifest(options: InstallationOptions, path: string): Promise<Installation> {
  rejectControllerOption(options, '--manifest');
  if (options.id === undefined) throw new UsageFailure('--manifest has many nodes: tell which with --id');
  const name = displayName(path);
  return findManifestLine(await manifestOctets(options, path), options.id, {
    name,
    decrypt: { advice: 'It was encrypted twice: decrypt it once before.' },
  });
}

/** A manifest in clear must be a private file; an encrypted one may be any file. */
async function manifestOctets({ passphraseFile, identity }: InstallationOptions, path: string): Promise<Uint8Array> {
  const name = displayName(path);
  if (passphraseFile !== undefined && identity !== undefined) {
    throw new UsageFailure('--passphrase-file and --identity exclude each other');
  }
  if (path === STANDARD_INPUT && (passphraseFile ?? identity) === STANDARD_INPUT) {
    throw new UsageFailure('standard input cannot be both the manifest and what opens it');
  }
  const octets = path === STANDARD_INPUT ? await readStandardOctets(MAX_MANIFEST) : await readOctets(path, MAX_MANIFEST);
  const lock = detectEncryption(octets);
  if (lock === undefined) {
    if (path !== STANDARD_INPUT) await checkPrivateFile(path);
    if (passphraseFile !== undefined || identity !== undefined) {
      throw new UsageFailure(`${name} is not encrypted, and something to open it with was given`, {
        advice: 'Leave that out, if you know how the manifest came here; whoever saw it has its keys.',
      });
    }
    return octets;
  }
  if (lock === 'passphrase') {
    if (passphraseFile === undefined)
      throw decryptionOptionMissing(name, 'a passphrase', '--passphrase-file FILE, or - to type it');
    const passphrase = await readSecret(
      passphraseFile,
      `Passphrase of ${name} (it is not shown):`,
      'a passphrase',
      '--passphrase-file',
    );
    return decryptManifest(octets, name, { passphrase: parsePassphrase(passphrase, displayName(passphraseFile)) });
  }
  if (identity === undefined)
    throw decryptionOptionMissing(name, 'recipients', '--identity FILE, with a file that age-keygen wrote');
  const identities = await parseIdentities(
    await readSecret(identity, 'Identity (it is not shown):', 'an identity', '--identity'),
    displayName(identity),
  );
  return decryptManifest(octets, name, { identities });
}

function decryptionOptionMissing(name: string, to: string, option: string): UsageFailure {
  return new UsageFailure(`${name} is encrypted to ${to}`, { advice: `Give ${option}.` });
}

async function fromOptions({ id, controller, controllerId, ikFile }: InstallationOptions): Promise<Installation> {
  if (controller === undefined || ikFile === undefined) {
    throw new UsageFailure('expected --label, --manifest, or both --controller and --ik-file', { advice: NEVER_AN_ARGUMENT });
  }
  if (id === undefined) throw new UsageFailure('--ik-file tells nothing but the key: tell which node with --id');
  if (KEY_PATTERN.test(ikFile))
    throw new UsageFailure('--ik-file takes the name of a file, or -, not the key itself', { advice: NEVER_AN_ARGUMENT });
  const text = await readSecret(ikFile, 'Initial key (it is not shown):', 'a key', '--ik-file');
  return { idI: id, idC: controllerId, controller, ik: parseKey(text, displayName(ikFile)) };
}

function rejectControllerOption({ controller, controllerId }: InstallationOptions, source: string): void {
  if (controller === undefined && controllerId === undefined) return;
  throw new UsageFailure(`${source} tells the controller already`, { advice: 'Leave out --controller and --controller-id.' });
}

/**
 * The text of the private file that `option` names, or of standard input; a terminal asks with
 * `prompt` for `what`.
 */
async function readSecret(path: string, prompt: string, what: string, option: string): Promise<string> {
  if (path !== STANDARD_INPUT) return readSecretFile(path, option);
  return readSecretInput(prompt, what);
}

function displayName(path: string): string {
  return path === STANDARD_INPUT ? 'standard input' : path;
}
