// What these tests start is what gets installed: each command as one bundle. It starts in a third
// of the time, too.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installCheckout } from '@latchkey/release/checkout';

export default async function install(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-testbed-'));
  process.env['LATCHKEY_TESTBED_BIN'] = await installCheckout(folder);
  return () => rm(folder, { recursive: true });
}
