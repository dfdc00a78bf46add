import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { describeRecipients } from '../src/key-recipients.js';

it('names an X25519 recipient by its beginning', () => {
  const recipient = `age1${'q'.repeat(24)}${'z'.repeat(34)}`;
  expect(describeRecipients([recipient, recipient])).toBe(`age1${'q'.repeat(24)}, age1${'q'.repeat(24)}`);
});

it('names a longer one by its hash too: others can be made that begin the same', () => {
  const beginning = `age1pq1${'q'.repeat(21)}`;
  const recipients = ['x', 'y'].map((rest) => beginning + rest.repeat(1_900));
  const names = recipients.map((recipient) => describeRecipients([recipient]));
  expect(names).toEqual(
    recipients.map((recipient) => `${beginning} sha256:${createHash('sha256').update(recipient).digest('hex').slice(0, 32)}`),
  );
  expect(names[0]).not.toBe(names[1]);
});
