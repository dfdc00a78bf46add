import { AdminFixture, MASTER } from '@latchkey/test-support/admin-fixture';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { Secret } from '@latchkey/protocol';
import { expect, it, vi } from 'vitest';
import { type EmbeddedOptions, startEmbedded } from '../src/embedded.js';

it('a server that may not serve the registry leaves nothing open', async () => {
  const { folder } = (await AdminFixture.open()).registry;
  const options: EmbeddedOptions = {
    folder,
    postgres: undefined,
    readMasterKey: () => Promise.resolve(Secret.from(MASTER)),
    holder: 'a test',
    actor: 'auth-server',
    log: new CapturedLog().log,
  };
  let closed: unknown;
  const refused = startEmbedded({
    ...options,
    check(registry) {
      closed = vi.spyOn(registry, 'close');
      return Promise.reject(new Error('not this one'));
    },
  });
  await expect(refused).rejects.toThrow('not this one');
  expect(closed).toHaveBeenCalledTimes(1);
  // The folder is free.
  const { close } = await startEmbedded(options);
  await close();
});
