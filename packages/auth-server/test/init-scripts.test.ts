// Proves that systemd and OpenWrt start the auth-server where a registry lies under another name,
// so that its log says what to do.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { newRegistry } from '@latchkey/test-support/registry-fixtures';

const PACKAGING = new URL('../../../packaging/', import.meta.url);

/** A folder with a registry, one that a killed `restore --replace` left, and an empty one. */
async function folders(): Promise<readonly [string, string, string]> {
  const [whole, interrupted] = [await newRegistry(), await newRegistry()];
  await Promise.all([whole.close(), interrupted.close()]);
  await rename(join(interrupted.folder, 'registry'), join(interrupted.folder, 'registry-before-2026-11-28T102030Z'));
  return [whole.folder, interrupted.folder, await tempFolder()];
}

describe('an auth-server is started where there is a registry, under its name or another', () => {
  it('by systemd (needs systemd-analyze)', async ({ skip }) => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) skip();
    const unit = readFileSync(new URL('systemd/latchkey-auth-server.service', PACKAGING), 'utf8');
    const [condition = ''] = /^Condition.*$/m.exec(unit) ?? [];
    const starts = (folder: string): boolean =>
      spawnSync('systemd-analyze', ['condition', condition.replace('/var/lib/latchkey/auth-server', folder)]).status === 0;
    expect((await folders()).map(starts)).toEqual([true, true, false]);
  });

  it('by OpenWrt', async () => {
    const script = new URL('openwrt/latchkey-auth-server', PACKAGING).pathname;
    const commands = `. ${script}; logger() { echo "$3"; }; mkdir() { :; }; procd_open_instance() { echo starts; exit; }; STATE=$1; start_service`;
    const starts = (folder: string): string => spawnSync('sh', ['-c', commands, 'sh', folder], { encoding: 'utf8' }).stdout;
    const [whole, interrupted, empty] = await folders();
    expect([whole, interrupted, empty].map(starts)).toEqual([
      'starts\n',
      'starts\n',
      `not set up yet: latchkey-auth-server init --data ${empty}\n`,
    ]);
  });
});
