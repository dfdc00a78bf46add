/**
 * A setup file of vitest: after each test file, no log, no answer and no output of a program has a
 * key that the tests or their networks made.
 */

import { Secret } from '@latchkey/protocol';
import { afterAll } from 'vitest';
import { beginRecord, endRecord, recordKey } from './output-record.js';

// Every key is made by this function. Nothing in the programs knows that it is watched. A test file
// makes keys as it is loaded, which is after this.
// It uses no `this`, and is put back as it was.
// oxlint-disable-next-line typescript/unbound-method
const { from } = Secret;
Secret.from = (octets) => {
  const secret = from(octets);
  recordKey(octets);
  return secret;
};
beginRecord();

afterAll(() => {
  Secret.from = from;
  const leaks = endRecord();
  if (leaks.length > 0) throw new Error(`${leaks.join('; ')}: keys belong into files and nowhere else`);
});
