// The registry of the API is opened anew where its store or its key was replaced.

import { Failure } from '@latchkey/runtime/failure';
import { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { expect, it, vi } from 'vitest';
import { ReopenedRegistry } from '../src/registry-access.js';

it('is another one for the next request, though the former cannot be closed', async () => {
  const [former, next] = [(await AdminFixture.open('memory')).registry, (await AdminFixture.open('memory')).registry];
  const opened = [former, next].values();
  const access = new ReopenedRegistry(undefined, () => Promise.resolve(opened.next().value ?? next));
  expect(await access.use((registry) => registry)).toBe(former);
  vi.spyOn(former.keyring, 'reload').mockImplementation(() => {
    throw new Failure('another master key');
  });
  const closed = vi.spyOn(former, 'close').mockRejectedValueOnce(new Failure('the disk is gone'));
  expect(await access.use((registry) => registry)).toBe(next);
  await expect.poll(() => closed.mock.settledResults).toMatchObject([{ type: 'rejected' }]);
  await access.close();
});
