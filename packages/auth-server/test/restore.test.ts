// Proves that a registry can be put into a file while it is in use, and made again from that file.

import { chown, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { expect, it } from 'vitest';
import { IS_ROOT, tempFolder } from '../../runtime/test/fixtures.js';
import { backup, restore } from '../src/backup.js';
import { setDisabled } from '../src/changes.js';
import { Registry } from '../src/registry.js';
import { drawn, MASTER, Office } from './administration.js';

const putBack = (folder: string, replace = false): { folder: string; master: Secret; who: string; replace: boolean } => ({
  folder,
  master: Secret.from(MASTER),
  who: 'user cy',
  replace,
});

it('a registry is put back as it was, node by node, and goes on from there', async () => {
  const office = await Office.open();
  const [ik, file] = [drawn(), join(await tempFolder(), 'backup.lkb')];
  await office.order({ 1: ik, 2: drawn() });
  const psk = await office.join(1, ik);
  const head = await backup(office.registry, file);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await setDisabled(office.registry, [1], true);

  const folder = await tempFolder();
  const { nodes, aside } = await restore(file, putBack(folder));
  expect([nodes, aside]).toEqual([2, undefined]);
  const registry = await Registry.open(folder, Secret.from(MASTER), 'user cy');
  expect(registry.node(1)).toMatchObject({ disabled: false, initial: false });
  expect(registry.node(1)?.key.toHex()).toBe(psk.toHex());
  expect([...registry.audit.verify(head)]).toEqual([]);
  expect([...registry.audit.latestFirst()][0]).toMatchObject({ what: 'registry restored', who: 'user cy' });
  await registry.close();

  await expect(restore(file, putBack(folder))).rejects.toThrow('holds a registry already');
  const replaced = await restore(file, putBack(folder, true));
  expect(await readdir(folder)).toContain(replaced.aside?.split('/').at(-1));
});

it.skipIf(!IS_ROOT)('what root puts back into the folder of another user is that user’s, all of it (needs root)', async () => {
  const office = await Office.open();
  await office.order({ 1: drawn() });
  const [folder, file] = [await tempFolder(), join(await tempFolder(), 'backup.lkb')];
  await backup(office.registry, file);
  await chown(folder, 64_000, 64_001);
  await restore(file, putBack(folder));
  const made = await readdir(folder, { recursive: true });
  expect(made).toEqual(expect.arrayContaining(['lock', 'registry', 'registry/data.mdb', 'registry/lock.mdb']));
  for (const name of made) {
    const { uid, gid } = await stat(join(folder, name));
    expect([name, uid, gid]).toEqual([name, 64_000, 64_001]);
  }
});

it('a file that is there is not written over, nor what is no backup put back', async () => {
  const office = await Office.open();
  const folder = await tempFolder();
  const file = join(folder, 'there');
  await writeFile(file, 'something else\n', { mode: 0o600 });
  const { seq } = office;
  await expect(backup(office.registry, file)).rejects.toThrow('exists already');
  expect(office.seq).toBe(seq);
  await expect(restore(join(folder, 'nowhere'), putBack(await tempFolder()))).rejects.toThrow('is not there');
  const target = await tempFolder();
  await expect(restore(file, putBack(target))).rejects.toMatchObject({ name: 'Failure' });
  expect((await readdir(target)).filter((name) => name.startsWith('registry'))).toEqual([]);
});

it('a backup that could not be written does not stand in the log', async () => {
  const office = await Office.open();
  const { seq } = office;
  await expect(backup(office.registry, join(await tempFolder(), 'nowhere', 'file'))).rejects.toThrow('cannot write');
  expect(office.seq).toBe(seq);
});
