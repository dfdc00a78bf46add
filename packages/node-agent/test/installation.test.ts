// Proves where an installation may come from, that what does not go together is refused, and that
// no message has a key.

import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encryptManifest, formatLabel, formatLabelInCapitals, formatManifest, type ManifestLine } from '@latchkey/provisioning';
import { beforeAll, describe, expect, it } from 'vitest';
import { type AgeKeyPair, newAgeKeyPair } from '@latchkey/test-support/age-key-pair';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { type Installation, type InstallationOptions, readInstallation } from '../src/installation.js';
import { newSecret } from './fixtures.js';

const controller = { host: '192.0.2.1', port: 5683 };
const line: ManifestLine = { idI: 0xa1b2, idC: 1, controller, ik: newSecret() };
const other: ManifestLine = { ...line, idI: 0xa1b3, ik: newSecret() };
const manifest = formatManifest([other, line]);

const PASSPHRASE = 'correct horse battery staple';
let reader: AgeKeyPair;
let forRecipient: Uint8Array;
let forPassphrase: Uint8Array;

beforeAll(async () => {
  reader = await newAgeKeyPair();
  forRecipient = await encryptManifest(manifest, { recipients: [reader.recipient] });
  forPassphrase = await encryptManifest(manifest, { passphrase: PASSPHRASE });
});

async function file(content: string | Uint8Array, mode = 0o600): Promise<string> {
  const path = join(await tempFolder(), 'file');
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

const plain = ({ ik, ...rest }: Installation): unknown => ({ ...rest, ik: ik.toHex() });

/** Refused with exit code 2, and without a key. */
async function expectRefusal(options: InstallationOptions, ...words: readonly string[]): Promise<void> {
  const error = await readInstallation(options).then(
    () => new Error('it was not refused'),
    (error: unknown) => error as Error & { advice?: string },
  );
  const said = `${error.message}\n${'advice' in error ? error.advice : ''}`;
  expect(error).toMatchObject({ name: 'UsageFailure', exitCode: 2 });
  for (const word of words) expect(said).toContain(word);
  for (const secret of [line.ik.toHex(), reader.identity.slice(0, 24), PASSPHRASE]) {
    expect((said + String(error.cause)).toLowerCase()).not.toContain(secret.toLowerCase());
  }
}

describe('an installation', () => {
  it('comes from a label, as a QR code has it or not, and the ID may be told too', async () => {
    expect(plain(await readInstallation({ label: await file(`${formatLabel(line)}\n`) }))).toEqual(plain(line));
    expect(plain(await readInstallation({ label: await file(formatLabelInCapitals(line)), id: 0xa1b2 }))).toEqual(plain(line));
  });

  it('comes from a line of a manifest', async () => {
    expect(plain(await readInstallation({ manifest: await file(manifest), id: 0xa1b2 }))).toEqual(plain(line));
  });

  it('comes from an encrypted manifest, which others may read', async () => {
    const [byPassphrase, byIdentity] = [await file(forPassphrase, 0o644), await file(forRecipient, 0o644)];
    const passphraseFile = await file(`${PASSPHRASE}\n`);
    expect(plain(await readInstallation({ manifest: byPassphrase, passphraseFile, id: 0xa1b2 }))).toEqual(plain(line));
    const identity = await file(`# created: 2026-01-01T00:00:00Z\n# public key: ${reader.recipient}\n${reader.identity}\n`);
    expect(plain(await readInstallation({ manifest: byIdentity, identity, id: 0xa1b3 }))).toEqual(plain(other));
  });

  it('comes from options and a file with the key', async () => {
    const ikFile = await file(`${line.ik.toHex()}\n`);
    expect(plain(await readInstallation({ id: 0xa1b2, controller, controllerId: 1, ikFile }))).toEqual(plain(line));
    expect((await readInstallation({ id: 0xa1b2, controller, ikFile })).idC).toBeUndefined();
  });
});

describe('a label', () => {
  it('is refused as an argument, with the reason and the way', async () => {
    for (const label of [formatLabel(line), formatLabelInCapitals(line), ` ${formatLabel(line)}`]) {
      await expectRefusal({ label }, 'not the label itself', 'others could read it', '--label -');
    }
  });

  it('is refused in a file that others can read, and where it is none', async () => {
    await expectRefusal({ label: await file(formatLabel(line), 0o640) }, 'has mode 0640', 'chmod 600');
    await expectRefusal({ label: await file(line.ik.toHex()) }, 'expected one label, latchkey:1/ID/CONTROLLER_ID/IK/HOST:PORT');
  });

  it('is refused where --id says another node', async () => {
    await expectRefusal({ label: await file(formatLabel(line)), id: 0xa1b3 }, 'is of node 0000a1b2, and --id says 0000a1b3');
  });
});

describe('a manifest', () => {
  it('in the clear is refused where others can read it', async () => {
    await expectRefusal({ manifest: await file(manifest, 0o644), id: 0xa1b2 }, 'has mode 0644', 'chmod 600');
  });

  it('is refused without the ID, and without a line for it', async () => {
    await expectRefusal({ manifest: await file(manifest) }, 'tell which with --id');
    await expect(readInstallation({ manifest: await file(manifest), id: 1 })).rejects.toMatchObject({
      name: 'NotFound',
      message: expect.stringMatching(/ has no line for node 00000001$/) as string,
    });
  });

  it('that is encrypted says what opens it', async () => {
    const [byPassphrase, byIdentity] = [await file(forPassphrase), await file(forRecipient)];
    const [passphraseFile, identity] = [await file(PASSPHRASE), await file(reader.identity)];
    const id = 0xa1b2;
    await expectRefusal({ id, manifest: byPassphrase }, 'is encrypted to a passphrase', 'Give --passphrase-file FILE');
    await expectRefusal({ id, manifest: byPassphrase, identity }, 'Give --passphrase-file FILE');
    await expectRefusal({ id, manifest: byIdentity }, 'is encrypted to recipients', 'Give --identity FILE');
    await expectRefusal({ id, manifest: byIdentity, passphraseFile }, 'Give --identity FILE');
  });

  it('stays shut for what does not open it', async () => {
    const id = 0xa1b2;
    const passphraseFile = await file(`${PASSPHRASE}!\n`);
    await expectRefusal({ id, manifest: await file(forPassphrase), passphraseFile }, 'the passphrase does not open it');
    const identity = await file(`${reader.identity.slice(0, -1)}${reader.identity.endsWith('Q') ? 'P' : 'Q'}\n`);
    await expectRefusal({ id, manifest: await file(forRecipient), identity }, 'line 1: expected AGE-SECRET-KEY-1');
    const loose = await file(reader.identity, 0o644);
    await expectRefusal({ id, manifest: await file(forRecipient), identity: loose }, 'has mode 0644', 'chmod 600');
  });

  it('is not opened by a secret that is given itself, and that is not repeated', async () => {
    const [id, byPassphrase, byIdentity] = [0xa1b2, await file(forPassphrase), await file(forRecipient)];
    for (const passphraseFile of [PASSPHRASE, `${PASSPHRASE}/`, PASSPHRASE.repeat(20)])
      await expectRefusal(
        { id, manifest: byPassphrase, passphraseFile },
        'the file that --passphrase-file names',
        'never an argument',
      );
    await expectRefusal(
      { id, manifest: byIdentity, identity: reader.identity },
      'the file that --identity names',
      'never an argument',
    );
  });

  it('in the clear is refused where an encrypted one was expected', async () => {
    const passphraseFile = await file(PASSPHRASE);
    await expectRefusal({ id: 0xa1b2, manifest: await file(manifest), passphraseFile }, 'is not encrypted');
  });
});

describe('what does not go together', () => {
  it.each<[string, InstallationOptions, string]>([
    ['nothing at all', {}, 'expected --label, --manifest, or both --controller and --ik-file'],
    ['a label and a manifest', { label: 'l', manifest: 'm' }, '--label and --manifest exclude each other'],
    ['a label and a key', { label: 'l', ikFile: 'k' }, '--label and --ik-file exclude each other'],
    ['a manifest and a key', { manifest: 'm', ikFile: 'k' }, '--manifest and --ik-file exclude each other'],
    ['all three', { label: 'l', manifest: 'm', ikFile: 'k' }, '--label and --manifest and --ik-file exclude'],
    ['a label and a controller', { label: 'l', controller }, '--label tells the controller already'],
    ['a manifest and a controller ID', { manifest: 'm', controllerId: 1 }, '--manifest tells the controller already'],
    ['a controller without a key', { id: 1, controller }, 'expected --label, --manifest, or both'],
    ['a key without an ID', { controller, ikFile: 'k' }, 'tell which node with --id'],
    ['a key itself', { id: 1, controller, ikFile: line.ik.toHex() }, 'not the key itself'],
    ['a passphrase without a manifest', { label: 'l', passphraseFile: 'p' }, 'are for an encrypted --manifest'],
    ['an identity without a manifest', { id: 1, controller, ikFile: 'k', identity: 'i' }, 'are for an encrypted --manifest'],
    ['both a passphrase and an identity', { id: 1, manifest: 'm', passphraseFile: 'p', identity: 'i' }, 'exclude each other'],
    ['standard input twice', { id: 1, manifest: '-', passphraseFile: '-' }, 'standard input cannot be both'],
  ])('is refused: %s', (_, options, message) => expectRefusal(options, message));
});
