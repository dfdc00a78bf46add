/**
 * A manifest on its way to the installer, encrypted in the age format
 * (https://age-encryption.org/v1): to a passphrase, or to recipients whose identity files open it.
 * `age-encryption` is loaded only where one is written or read: daemons do without it.
 */

import { decryptInto } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';

/** Who may read it. */
export type ManifestRecipients = { readonly passphrase: string } | { readonly recipients: readonly string[] };

/** What opens it: identities are `AGE-SECRET-KEY-...`. */
export type ManifestKey = { readonly passphrase: string } | { readonly identities: readonly string[] };

/** Whoever gets hold of the file can try passphrases as fast as they can buy machines. */
const MIN_PASSPHRASE = 12;

const AGE_HEADER = 'age-encryption.org/v1\n';
const ARMOR_HEADER = '-----BEGIN AGE ENCRYPTED FILE-----';
/** Octets of a file that tell whether it is encrypted: enough for the armor's first two lines. */
export const HEADER_PREFIX_LENGTH = 256;

/** What opens an encrypted manifest; `undefined` if it is not encrypted. */
export function detectEncryption(octets: Uint8Array): 'passphrase' | 'recipients' | undefined {
  const header = headerPrefix(octets);
  if (!header.startsWith(AGE_HEADER)) return undefined;
  // A passphrase stands alone: https://age-encryption.org/v1, "scrypt recipient stanza".
  return header.startsWith('-> scrypt ', AGE_HEADER.length) ? 'passphrase' : 'recipients';
}

function headerPrefix(octets: Uint8Array): string {
  const header = Buffer.from(octets.subarray(0, HEADER_PREFIX_LENGTH)).toString('latin1').trimStart();
  if (!header.startsWith(ARMOR_HEADER)) return header;
  const [, line = ''] = header.split('\n');
  return Buffer.from(line, 'base64').toString('latin1');
}

/**
 * Encrypts a manifest, binary as `age` does.
 *
 * @throws UsageFailure for a passphrase that is too short and for recipients that are none
 */
export async function encryptManifest(text: string | Uint8Array, target: ManifestRecipients): Promise<Uint8Array> {
  const { Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  if ('passphrase' in target) {
    checkNewPassphrase(target.passphrase);
    encrypter.setPassphrase(target.passphrase);
  } else {
    await checkRecipients(target.recipients);
    for (const recipient of target.recipients) encrypter.addRecipient(recipient);
  }
  return encrypter.encrypt(text);
}

/** Refuses a passphrase that is easily guessed. */
export function checkNewPassphrase(passphrase: string): void {
  if (passphrase.length >= MIN_PASSPHRASE) return;
  throw new UsageFailure(`the passphrase has fewer than ${MIN_PASSPHRASE} characters`, {
    advice: 'Whoever gets hold of the file can guess for as long as they like: take four random words or more.',
  });
}

/** Refuses recipients that are none, before anything is done for them. */
export async function checkRecipients(recipients: readonly string[]): Promise<void> {
  const { Encrypter } = await import('age-encryption');
  if (recipients.length === 0) throw new UsageFailure('expected a recipient, age1..., or more');
  for (const recipient of recipients) {
    try {
      new Encrypter().addRecipient(recipient);
    } catch {
      throw invalidRecipient(recipient);
    }
  }
}

/** The library's own message may quote the text, which may be a secret. */
function invalidRecipient(text: string): UsageFailure {
  if (/^age-secret-key-/i.test(text)) {
    return new UsageFailure('a recipient was expected, and an identity, which is secret, was given', {
      advice: 'Others may have read it: make another with age-keygen, and give the public key it prints.',
    });
  }
  const which = text.startsWith('age1') ? `${text.slice(0, 16)}... is not a recipient` : 'not a recipient';
  return new UsageFailure(`${which}: expected age1... as age-keygen prints it`, {
    advice: 'SSH keys and plugins are not taken. Is it whole?',
  });
}

/** Whom a file is encrypted to, and what opens it. */
export interface AgeKeyPair {
  readonly recipient: string;
  readonly identity: string;
}

/** A recipient for one file, and the identity that opens it. */
export async function generateRecipient(): Promise<AgeKeyPair> {
  const { generateIdentity } = await import('age-encryption');
  return keyPairOf(await generateIdentity());
}

/** The one identity of a file as age-keygen writes it, and its recipient. */
export async function parseKeyPair(text: string, name: string): Promise<AgeKeyPair> {
  const [identity, ...others] = await parseIdentities(text, name);
  if (identity === undefined || others.length > 0)
    throw new UsageFailure(`${name}: expected one identity, and it has ${others.length + 1}`);
  return keyPairOf(identity);
}

async function keyPairOf(identity: string): Promise<AgeKeyPair> {
  const { identityToRecipient } = await import('age-encryption');
  return { recipient: await identityToRecipient(identity), identity };
}

/** A passphrase as the first and only line of a file. */
export function parsePassphrase(text: string, name: string): string {
  const passphrase = text.replace(/\r?\n$/, '');
  if (passphrase === '' || passphrase.includes('\n')) throw new UsageFailure(`${name}: expected a passphrase, one line`);
  return passphrase;
}

/** The identities of a file as age-keygen writes it: one a line, among comments and empty lines. */
export async function parseIdentities(text: string, name: string): Promise<string[]> {
  const { Decrypter } = await import('age-encryption');
  if (detectEncryption(Buffer.from(text)) !== undefined) {
    throw new UsageFailure(`${name}: the identity file is encrypted itself`, {
      advice: decryptInto(name, 'identity.txt'),
    });
  }
  const identities = text.split('\n').flatMap((row, i) => {
    const line = row.trim();
    if (line === '' || line.startsWith('#')) return [];
    try {
      new Decrypter().addIdentity(line);
      return [line];
    } catch {
      // The library's own message may quote the line.
      throw new UsageFailure(`${name}, line ${i + 1}: expected AGE-SECRET-KEY-1... as age-keygen writes it`);
    }
  });
  if (identities.length === 0) throw new UsageFailure(`${name}: expected an identity, AGE-SECRET-KEY-1...`);
  return identities;
}

/**
 * Decrypts a manifest, binary or armored.
 *
 * @param name of the file, for messages
 */
export async function decryptManifest(octets: Uint8Array, name: string, key: ManifestKey): Promise<Uint8Array> {
  const { armor, Decrypter } = await import('age-encryption');
  const encryption = detectEncryption(octets);
  if (encryption === undefined) throw new UsageFailure(`${name}: expected a file that age has encrypted`);
  if ((encryption === 'passphrase') !== 'passphrase' in key) {
    const other = encryption === 'passphrase' ? 'a passphrase, not to recipients' : 'recipients, not to a passphrase';
    throw new UsageFailure(`${name} is encrypted to ${other}`);
  }
  const decrypter = new Decrypter();
  if ('passphrase' in key) decrypter.addPassphrase(key.passphrase);
  else for (const identity of key.identities) decrypter.addIdentity(identity);
  try {
    const text = Buffer.from(octets).toString('latin1');
    return await decrypter.decrypt(text.trimStart().startsWith(ARMOR_HEADER) ? armor.decode(text) : octets, 'uint8array');
  } catch (error) {
    throw decryptionFailure(error, name, key);
  }
}

function decryptionFailure(error: unknown, name: string, key: ManifestKey): UsageFailure {
  const message = error instanceof Error ? error.message : '';
  if (message.startsWith('no identity matched')) {
    const wrong = 'passphrase' in key ? 'the passphrase does not open it' : 'no identity given opens it';
    return new UsageFailure(`${name}: ${wrong}`, { advice: 'Ask whoever sent it which one it was encrypted to.' });
  }
  if (message.startsWith('scrypt work factor')) {
    return new UsageFailure(`${name}: opening it would take more memory than is reasonable`, {
      advice: 'Have it encrypted again, with age as it comes.',
    });
  }
  return new UsageFailure(`${name} is damaged, or was changed on its way`, { advice: 'Have it sent again.' });
}
