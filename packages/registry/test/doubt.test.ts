// Proves that a write in doubt is never told as one that did not happen, whatever keeps it from
// being looked up.

import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { expect, it } from 'vitest';
import type { AuditEntry } from '../src/audit-chain.js';
import { withoutDoubt } from '../src/doubt.js';
import { InDoubt, Unavailable } from '../src/storage.js';

const NOTHING_CHANGED = { advice: 'Nothing was changed.' };

/** A write that ends in doubt, whose entry is looked up by `readEntry`, in time of its own. */
function write(readEntry: (operation: string, nowMs: number) => AuditEntry): Promise<string> {
  let nowMs = 0;
  let ofWrite = '';
  return withoutDoubt({
    write(operation, decided) {
      ofWrite = operation;
      decided({ result: 'done', entry: 7 });
      return Promise.reject(new InDoubt('the connection broke'));
    },
    readEntry: async () => readEntry(ofWrite, nowMs),
    time: {
      now: () => nowMs,
      pause: (ms) => {
        nowMs += ms;
        return Promise.resolve();
      },
    },
  });
}

const FAILURES: readonly Failure[] = [
  new Unavailable('no host of the database serves', NOTHING_CHANGED),
  new UsageFailure('the password cannot be read', NOTHING_CHANGED),
  new Failure('the certificate has expired', NOTHING_CHANGED),
];

it.each(FAILURES)('is in doubt still, a minute later: $message', async (failure) => {
  await expect(
    write(() => {
      throw failure;
    }),
  ).rejects.toMatchObject({
    name: 'InDoubt',
    message: `it is not known whether the registry took the change: ${failure.message}`,
    advice: expect.stringContaining('entry 7 of the audit log has operation') as string,
  });
});

it.each(FAILURES)('is looked up once that is over: $message', async (failure) => {
  const entry = { seq: 7, at: '', actor: 'test', what: 'node joined' } as const;
  const found = await write((operation, nowMs) => {
    if (nowMs < 10_000) throw failure;
    return { ...entry, operation };
  });
  expect(found).toBe('done');
});
