// Proves that the check at the end of each test file (leak-check) finds a key in what was printed
// and answered, in each form, and nothing else.

import { randomBytes } from 'node:crypto';
import { Secret } from '@latchkey/protocol';
import { expect, it } from 'vitest';
import { CapturedLog } from '../src/fixtures.js';
import { KeySearch } from '../src/key-search.js';
import { beginRecord, endRecord, isRecording, recordNetworkKeys, recordOutput } from '../src/output-record.js';

const LOG = 'a log or an answer has a key';
const PROCESS = 'the output of a process has a key';

/** What is found after `use`. */
async function leaksOf(use: () => void | Promise<void>): Promise<readonly string[]> {
  // The record of this file goes on after that.
  expect([isRecording(), endRecord()]).toEqual([true, []]);
  beginRecord();
  await use();
  const leaks = endRecord();
  beginRecord();
  return leaks;
}

it.each([
  ['octets', (key: Buffer) => key],
  ['octets', (key: Buffer) => key.subarray(0, 8)],
  ['hex', (key: Buffer) => key.toString('hex')],
  ['hex', (key: Buffer) => key.toString('hex').toUpperCase()],
  ['hex', (key: Buffer) => key.toString('hex').slice(16)],
  ['base64', (key: Buffer) => key.toString('base64')],
  ['base64', (key: Buffer) => Buffer.concat([Buffer.of(1), key, Buffer.of(2)]).toString('base64url')],
  ['base64', (key: Buffer) => Buffer.concat([Buffer.of(1, 2), key, Buffer.of(3)]).toString('base64')],
] as const)('finds a key as %s', (form, write) => {
  for (let i = 0; i < 50; i++) {
    const search = new KeySearch();
    const key = randomBytes(16);
    search.addAllForms('key', key);
    search.addAllForms('another', randomBytes(16));
    search.search(Buffer.concat([randomBytes(i), Buffer.from('at '), Buffer.from(write(key)), Buffer.from(' end')]));
    expect(search.found()).toEqual([`key, ${form}`]);
  }
});

it('finds no key that is not there, and none that is a number', () => {
  const search = new KeySearch();
  for (let i = 0; i < 1_000; i++) search.addAllForms('key', randomBytes(16));
  search.addAllForms('number', Buffer.from('00000000000000000000000000000001', 'hex'));
  search.search(randomBytes(1_000_000));
  search.search(
    Buffer.from(`${randomBytes(100_000).toString('hex')} ${randomBytes(100_000).toString('base64')} ${'0'.repeat(64)}1`),
  );
  expect(search.found()).toEqual([]);
});

it('finds any key that was made in a log and in an answer', async () => {
  const key = Secret.from(randomBytes(16));
  expect(await leaksOf(() => recordOutput('log', key.toHex()))).toEqual([]);
  const made = leaksOf(() => recordOutput('log', `{"psk":"${Secret.fromHex(randomBytes(16).toString('hex')).toHex()}"}`));
  expect(await made).toEqual([`${LOG}, hex`]);
  const logged = leaksOf(() => {
    const psk = Secret.from(randomBytes(16));
    new CapturedLog().log.info({ key: Buffer.from(psk.expose()).toString('base64') }, 'joined');
    psk.wipe();
  });
  expect(await logged).toEqual([`${LOG}, base64`]);
});

it('finds the keys of networks in what programs print, and lets them print keys that they were asked for', async () => {
  const ofNetwork = leaksOf(async () => {
    const ik = randomBytes(16);
    recordOutput('process', ik);
    await recordNetworkKeys(() => Promise.resolve(Secret.from(ik).wipe()));
  });
  expect(await ofNetwork).toEqual([`${PROCESS}, octets`]);
  expect(await leaksOf(() => recordOutput('process', Secret.from(randomBytes(16)).toHex()))).toEqual([]);
});
