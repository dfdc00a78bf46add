// The API starts once on a registry, and what fails to start leaves nothing behind.

import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import type { Daemon } from '@latchkey/runtime/daemon';
import { AdminFixture, MASTER } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { expect, it, onTestFinished } from 'vitest';
import { startApi } from '../src/index.js';
import { type JobRecord, RequestStore } from '../src/jobs/request-store.js';

const JOB: JobRecord = {
  id: 'job',
  owner: `uid ${process.getuid?.() ?? 0}`,
  scopes: ['nodes'],
  limits: null,
  actor: 'user ada',
  kind: 'nodes.change',
  state: 'running',
  done: 1,
  total: 2,
  createdAt: 1_000,
  finishedAt: null,
  result: null,
  problem: null,
};

async function start(folder: string): Promise<Daemon> {
  return startApi({
    config: { socket: join(await tempFolder(), 'api.sock'), local: {} },
    folder,
    registry: { open: () => Registry.open(folder, Secret.from(MASTER), 'api') },
    log: new CapturedLog().log,
  });
}

/** A job that runs, as far as the store knows. */
async function putJob(folder: string): Promise<RequestStore> {
  const requests = await RequestStore.openBeside(folder);
  await requests.putJob(JOB);
  return requests;
}

it('a second API on a registry is refused, and the jobs of the first go on', async () => {
  const { folder } = (await AdminFixture.open()).registry;
  const first = await start(folder);
  const requests = await putJob(folder);
  onTestFinished(() => requests.close());
  await expect(start(folder)).rejects.toMatchObject({
    message: expect.stringContaining(`${folder}/api-requests is in use by latchkey-auth-server api`),
    advice: expect.stringContaining('--no-api'),
  });
  expect(requests.job('job')?.state).toBe('running');
  await first.stop();
  const second = await start(folder);
  expect(requests.job('job')?.state).toBe('interrupted');
  await second.stop();
});

it.skipIf(process.getuid?.() !== 0)(
  'leaves nothing open if a full disk keeps it from starting (needs root)',
  async ({ skip }) => {
    const { folder } = (await AdminFixture.open()).registry;
    const mount = join(folder, 'api-requests');
    await mkdir(mount, { mode: 0o700 });
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', mount]).status !== 0)
      skip('nothing can be mounted');
    onTestFinished(() => void spawnSync('umount', ['-l', mount]));
    await (await putJob(folder)).close();
    expect(spawnSync('dd', ['if=/dev/zero', `of=${mount}/fill`, 'bs=4k']).status).not.toBe(0);
    await expect(start(folder)).rejects.toThrow('no space left on the device');
    expect(await openBelow(mount)).toEqual([]);
    await rm(`${mount}/fill`);
    await (await start(folder)).stop();
    expect(await openBelow(mount)).toEqual([]);
  },
);

/** Files below a folder that this process has open. */
async function openBelow(folder: string): Promise<string[]> {
  const fds = await readdir('/proc/self/fd');
  const paths = await Promise.all(fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return paths.filter((path) => path.startsWith(folder));
}
