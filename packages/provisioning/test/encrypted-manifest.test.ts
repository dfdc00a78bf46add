// Proves that an encrypted manifest opens for whom it was encrypted to and nobody else, here and
// with the age command, and that no message has a secret.

import { spawnSync } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { armor, Encrypter, generateHybridIdentity, identityToRecipient } from 'age-encryption';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  checkRecipients,
  decryptManifest,
  detectEncryption,
  encryptManifest,
  parseIdentities,
  parsePassphrase,
} from '../src/encrypted-manifest.js';
import { createFile } from '@latchkey/runtime/files';
import { type AgeKeyPair, newAgeKeyPair } from '@latchkey/test-support/age-key-pair';
import { tempFolder } from '@latchkey/test-support/fixtures';

const TEXT = 'id,controller_id,controller,ik\n0000a1b2,00000001,192.0.2.1:5683,5b2e9d0c4f61a7384c1d9e0b7a6f5e4d\n';
const PASSPHRASE = 'correct horse bättery staple';
const HAS_AGE = spawnSync('age', ['--version']).error === undefined && spawnSync('age-keygen', ['--version']).error === undefined;

let ada: AgeKeyPair;
let kim: AgeKeyPair;
let forAda: Uint8Array;
let forWhoKnows: Uint8Array;

function inArmor(octets: Uint8Array): Uint8Array {
  return Buffer.from(armor.encode(octets));
}

/** As encryptManifest does it, in a thousandth of the time. */
async function quicklyToPassphrase(text: string): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(PASSPHRASE);
  encrypter.setScryptWorkFactor(8);
  return encrypter.encrypt(text);
}

beforeAll(async () => {
  [ada, kim] = [await newAgeKeyPair(), await newAgeKeyPair()];
  forAda = await encryptManifest(TEXT, { recipients: [ada.recipient] });
  forWhoKnows = await quicklyToPassphrase(TEXT);
});

async function textOf(...encrypted: Parameters<typeof decryptManifest>): Promise<string> {
  return Buffer.from(await decryptManifest(...encrypted)).toString();
}

describe('an encrypted manifest', () => {
  it('opens for a passphrase', async () => {
    const octets = await encryptManifest(TEXT, { passphrase: PASSPHRASE });
    expect(await textOf(octets, 'm', { passphrase: PASSPHRASE })).toBe(TEXT);
    // The work that one guess costs: 2^18 is what age takes.
    expect(Buffer.from(octets).toString('latin1')).toMatch(/^age-encryption\.org\/v1\n-> scrypt \S+ 18\n/);
  });

  it('opens for each of its recipients, whichever identities come before theirs', async () => {
    const octets = await encryptManifest(TEXT, { recipients: [ada.recipient, kim.recipient] });
    expect(await textOf(octets, 'm', { identities: [ada.identity] })).toBe(TEXT);
    expect(await textOf(forAda, 'm', { identities: [kim.identity, ada.identity] })).toBe(TEXT);
  });

  it('opens for a recipient whose key a quantum computer would not find', async () => {
    const identity = await generateHybridIdentity();
    const octets = await encryptManifest(TEXT, { recipients: [await identityToRecipient(identity)] });
    expect(await textOf(octets, 'm', { identities: [identity] })).toBe(TEXT);
  });

  it('may be armored, as mail wants it', async () => {
    expect(await textOf(inArmor(forAda), 'm', { identities: [ada.identity] })).toBe(TEXT);
    const crlf = Buffer.from(`\n${armor.encode(forWhoKnows).replaceAll('\n', '\r\n')}`);
    expect(await textOf(crlf, 'm', { passphrase: PASSPHRASE })).toBe(TEXT);
  });

  it('has nothing of the manifest in the clear, and is another each time', async () => {
    const again = await encryptManifest(TEXT, { recipients: [ada.recipient] });
    expect(Buffer.from(forAda).includes('0000a1b2')).toBe(false);
    expect(Buffer.from(again).equals(forAda)).toBe(false);
  });

  it('is told from one in the clear by its first octets, with what opens it', () => {
    expect([forAda, inArmor(forAda)].map(detectEncryption)).toEqual(['recipients', 'recipients']);
    expect([forWhoKnows, inArmor(forWhoKnows)].map(detectEncryption)).toEqual(['passphrase', 'passphrase']);
    for (const text of [TEXT, '', '{"id":"0000a1b2"}', 'age-encryption.org/v2\n', '-----BEGIN CERTIFICATE-----\nAAAA\n']) {
      expect(detectEncryption(Buffer.from(text))).toBeUndefined();
    }
  });
});

describe('an encrypted manifest stays shut, in words,', () => {
  const refused = (message: string): object => expect.objectContaining({ name: 'UsageFailure', message }) as object;

  it('for a wrong passphrase, a wrong identity, or a key of the other kind', async () => {
    await expect(decryptManifest(forWhoKnows, 'm.age', { passphrase: `${PASSPHRASE} ` })).rejects.toEqual(
      refused('m.age: the passphrase does not open it'),
    );
    await expect(decryptManifest(forAda, 'm.age', { identities: [kim.identity] })).rejects.toEqual(
      refused('m.age: no identity given opens it'),
    );
    await expect(decryptManifest(forAda, 'm.age', { passphrase: PASSPHRASE })).rejects.toEqual(
      refused('m.age is encrypted to recipients, not to a passphrase'),
    );
    await expect(decryptManifest(forWhoKnows, 'm.age', { identities: [ada.identity] })).rejects.toEqual(
      refused('m.age is encrypted to a passphrase, not to recipients'),
    );
  });

  it('where it is not encrypted', async () => {
    await expect(decryptManifest(Buffer.from(TEXT), 'm.csv', { passphrase: PASSPHRASE })).rejects.toEqual(
      refused('m.csv: expected a file that age has encrypted'),
    );
  });

  it('wherever one octet of it was changed, and where its end is missing', async () => {
    const damaged = /^m\.age(?: is damaged, or was changed on its way|: no identity given opens it)$/;
    const whole = Buffer.from(forAda);
    // The first line tells that it is one at all.
    for (let at = whole.indexOf('\n') + 1; at < whole.length; at++) {
      const octets = Buffer.from(whole);
      octets[at] = (octets[at] ?? 0) ^ 0x01;
      await expect(decryptManifest(octets, 'm.age', { identities: [ada.identity] })).rejects.toThrow(damaged);
    }
    for (const end of [40, 120, whole.length - 1]) {
      await expect(decryptManifest(whole.subarray(0, end), 'm.age', { identities: [ada.identity] })).rejects.toThrow(damaged);
    }
    const broken = Buffer.from(armor.encode(whole).replace('-----END', '-----AND'));
    await expect(decryptManifest(broken, 'm.age', { identities: [ada.identity] })).rejects.toThrow(damaged);
  });

  it('where opening it would take all memory', async () => {
    const greedy = Buffer.from(
      Buffer.from(forWhoKnows)
        .toString('latin1')
        .replace(/(-> scrypt \S+) 8\n/, '$1 40\n'),
      'latin1',
    );
    await expect(decryptManifest(greedy, 'm.age', { passphrase: PASSPHRASE })).rejects.toEqual(
      refused('m.age: opening it would take more memory than is reasonable'),
    );
  });
});

describe('who may read it', () => {
  it('is a recipient, whole', async () => {
    await checkRecipients([ada.recipient, kim.recipient]);
    const typo = `${ada.recipient.slice(0, -1)}${ada.recipient.endsWith('q') ? 'p' : 'q'}`;
    for (const text of [typo, ada.recipient.slice(0, -4), 'age1']) {
      await expect(checkRecipients([kim.recipient, text])).rejects.toMatchObject({
        name: 'UsageFailure',
        message: `${text.slice(0, 16)}... is not a recipient: expected age1... as age-keygen prints it`,
      });
    }
    for (const text of ['', 'ada@example.com', 'ssh-ed25519 AAAAC3Nz']) {
      await expect(encryptManifest(TEXT, { recipients: [text] })).rejects.toMatchObject({
        message: 'not a recipient: expected age1... as age-keygen prints it',
      });
    }
    await expect(checkRecipients([])).rejects.toMatchObject({ message: 'expected a recipient, age1..., or more' });
  });

  it('is not named by a secret, which is not repeated', async () => {
    const error = await checkRecipients([ada.identity]).catch((error: unknown) => error as Error);
    expect(error).toMatchObject({ message: 'a recipient was expected, and an identity, which is secret, was given' });
    expect(String(error?.stack)).not.toContain(ada.identity.slice(0, 24));
  });

  it('does not know a passphrase that is easily guessed', async () => {
    await expect(encryptManifest(TEXT, { passphrase: 'short' })).rejects.toMatchObject({
      name: 'UsageFailure',
      message: 'the passphrase has fewer than 12 characters',
    });
  });
});

describe('what opens it', () => {
  it('is a passphrase of one line', () => {
    expect(['abc', 'abc\n', 'abc\r\n', ' abc '].map((text) => parsePassphrase(text, 'p'))).toEqual([
      'abc',
      'abc',
      'abc',
      ' abc ',
    ]);
    for (const text of ['', '\n', 'abc\ndef\n', 'abc\n\n']) {
      expect(() => parsePassphrase(text, 'p')).toThrow(/^p: expected a passphrase, one line$/);
    }
  });

  it('is a file of identities as age-keygen writes it', async () => {
    const file = `# created: 2026-01-01T00:00:00Z\n# public key: ${ada.recipient}\n${ada.identity}\r\n\n${kim.identity}\n`;
    expect(await parseIdentities(file, 'key.txt')).toEqual([ada.identity, kim.identity]);
  });

  it('is refused by line where it is something else, without the line', async () => {
    const typo = `${ada.identity.slice(0, -1)}${ada.identity.endsWith('Q') ? 'P' : 'Q'}`;
    for (const text of [typo, ada.recipient, 'AGE-PLUGIN-YUBIKEY-1QQQ']) {
      const error = await parseIdentities(`# mine\n${text}\n`, 'key.txt').catch((error: unknown) => error as Error);
      expect(error).toMatchObject({ message: 'key.txt, line 2: expected AGE-SECRET-KEY-1... as age-keygen writes it' });
      expect(String((error as Error).stack) + String((error as Error).cause)).not.toContain(text.slice(0, 24));
    }
    await expect(parseIdentities('# nothing\n', 'key.txt')).rejects.toThrow('key.txt: expected an identity');
    await expect(parseIdentities(armor.encode(forAda), 'key.txt')).rejects.toThrow('the identity file is encrypted itself');
  });
});

describe.skipIf(!HAS_AGE)('the age command (needs age and age-keygen)', () => {
  /** An identity file as age-keygen writes it, with its recipient. */
  async function keygen(): Promise<{ folder: string; key: string; recipient: string }> {
    const folder = await tempFolder();
    const key = join(folder, 'key.txt');
    expect(spawnSync('age-keygen', ['-o', key]).status).toBe(0);
    return { folder, key, recipient: spawnSync('age-keygen', ['-y', key], { encoding: 'utf8' }).stdout.trim() };
  }

  it('opens what was encrypted here', async () => {
    const { folder, key, recipient } = await keygen();
    const path = join(folder, 'manifest.csv.age');
    await createFile(path, await encryptManifest(TEXT, { recipients: [ada.recipient, recipient] }));
    expect(spawnSync('age', ['--decrypt', '--identity', key, path], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stdout: TEXT,
    });
  });

  it.each([['binary'], ['armored', '--armor']])('encrypts what is opened here: %s', async (_, ...options) => {
    const { folder, key, recipient } = await keygen();
    const [plain, path] = [join(folder, 'manifest.csv'), join(folder, 'manifest.csv.age')];
    await writeFile(plain, TEXT);
    await chmod(plain, 0o600);
    expect(spawnSync('age', [...options, '--recipient', recipient, '--output', path, plain]).status).toBe(0);
    const identities = await parseIdentities(await readFile(key, 'utf8'), key);
    expect(await textOf(await readFile(path), path, { identities })).toBe(TEXT);
  });
});
