// Proves that a registry can be put into a file while it is in use, and made again from that file.

import { allOf } from '../src/listing.js';
import { chown, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { expect, it } from 'vitest';
import { collected, IS_ROOT, tempFolder } from '@latchkey/test-support/fixtures';
import { backup } from '../src/backup/backup.js';
import { restore } from '../src/backup/restore.js';
import { setDisabled } from '@latchkey/operations';
import { Registry } from '../src/registry.js';
import { newSecret, MASTER, AdminFixture } from '@latchkey/test-support/admin-fixture';

const restoreOptions = (
  folder: string,
  replace = false,
): { folder: string; master: Secret; actor: string; replace: boolean } => ({
  folder,
  master: Secret.from(MASTER),
  actor: 'user cy',
  replace,
});

it('a registry is put back as it was, node by node, and goes on from there', async () => {
  const fixture = await AdminFixture.open();
  const [ik, file] = [newSecret(), join(await tempFolder(), 'backup.lkb')];
  await fixture.order({ 1: ik, 2: newSecret() });
  const psk = await fixture.join(1, ik);
  const head = await backup(fixture.registry, file);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await setDisabled(fixture.registry, [1], true);

  const folder = await tempFolder();
  const { nodes, previous } = await restore(file, restoreOptions(folder));
  expect([nodes, previous]).toEqual([2, undefined]);
  const registry = await Registry.open(folder, Secret.from(MASTER), 'user cy');
  expect(await registry.node(1)).toMatchObject({ disabled: false, initial: false });
  expect((await registry.node(1))?.key.toHex()).toBe(psk.toHex());
  expect(await collected(registry.audit.verify(head))).toEqual([]);
  expect((await allOf(registry.audit.newestFirst()))[0]).toMatchObject({ what: 'registry restored', actor: 'user cy' });
  await registry.close();

  await expect(restore(file, restoreOptions(folder))).rejects.toThrow('holds a registry already');
  const replaced = await restore(file, restoreOptions(folder, true));
  expect(await readdir(folder)).toContain(replaced.previous?.split('/').at(-1));
});

it.skipIf(!IS_ROOT)('what root puts back into the folder of another user is that user’s, all of it (needs root)', async () => {
  const fixture = await AdminFixture.open();
  await fixture.order({ 1: newSecret() });
  const [folder, file] = [await tempFolder(), join(await tempFolder(), 'backup.lkb')];
  await backup(fixture.registry, file);
  await chown(folder, 64_000, 64_001);
  await restore(file, restoreOptions(folder));
  const made = await readdir(folder, { recursive: true });
  expect(made).toEqual(expect.arrayContaining(['lock', 'registry', 'registry/data.mdb', 'registry/lock.mdb']));
  for (const name of made) {
    const { uid, gid } = await stat(join(folder, name));
    expect([name, uid, gid]).toEqual([name, 64_000, 64_001]);
  }
});

it('a file that is there is not written over, nor what is no backup put back', async () => {
  const fixture = await AdminFixture.open();
  const folder = await tempFolder();
  const file = join(folder, 'there');
  await writeFile(file, 'something else\n', { mode: 0o600 });
  const { headSeq } = fixture;
  await expect(backup(fixture.registry, file)).rejects.toThrow('exists already');
  expect(fixture.headSeq).toBe(headSeq);
  await expect(restore(join(folder, 'nowhere'), restoreOptions(await tempFolder()))).rejects.toThrow('is not there');
  const target = await tempFolder();
  await expect(restore(file, restoreOptions(target))).rejects.toMatchObject({ name: 'Failure' });
  expect((await readdir(target)).filter((name) => name.startsWith('registry'))).toEqual([]);
});

it('a backup that could not be written does not stand in the log', async () => {
  const fixture = await AdminFixture.open();
  const { headSeq } = fixture;
  await expect(backup(fixture.registry, join(await tempFolder(), 'nowhere', 'file'))).rejects.toThrow('cannot write');
  expect(fixture.headSeq).toBe(headSeq);
});
