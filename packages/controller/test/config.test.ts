// What a controller's configuration may say.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '@latchkey/runtime/config';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { expect, it } from 'vitest';
import { configSchema } from '../src/config.js';

it('key_feed is a day at most, and an error names its line', async () => {
  const path = join(await tempFolder(), 'controller.yaml');
  await writeFile(path, 'mode: relay\nkey_feed: 1d\n');
  expect(await loadConfig(configSchema, path)).toMatchObject({ key_feed: 86_400_000 });
  await writeFile(path, 'mode: relay\nkey_feed: 30d\n');
  await expect(loadConfig(configSchema, path)).rejects.toThrow(/line 2.*key_feed: expected 1d or less/s);
});
