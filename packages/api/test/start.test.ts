// The API starts once on a registry, whole, and what fails to start leaves nothing behind.

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import type { Daemon } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { AdminFixture, MASTER } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, mountTmpfs, tempFolder } from '@latchkey/test-support/fixtures';
import { fastify } from 'fastify';
import { expect, it, onTestFinished } from 'vitest';
import type { ApiConfig } from '../src/config.js';
import { startApi } from '../src/index.js';
import { type JobRecord, RequestStore } from '../src/jobs/request-store.js';
import { Listeners, listenOnSocket } from '../src/listeners.js';
import { ReopenedRegistry } from '../src/registry-access.js';
import type { RouteServices } from '../src/route.js';
import { buildServer } from '../src/server.js';
import { type Answer, ask } from './local-api.js';

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

async function start(folder: string, config: Partial<ApiConfig> = {}): Promise<Daemon> {
  return startApi({
    config: { socket: join(await tempFolder(), 'api.sock'), local: {}, ...config },
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
    if (!(await mountTmpfs(mount, '1m'))) skip('nothing can be mounted');
    await (await putJob(folder)).close();
    expect(spawnSync('dd', ['if=/dev/zero', `of=${mount}/fill`, 'bs=4k']).status).not.toBe(0);
    await expect(start(folder)).rejects.toThrow('no space left on the device');
    expect(await openBelow(mount)).toEqual([]);
    await rm(`${mount}/fill`);
    await (await start(folder)).stop();
    expect(await openBelow(mount)).toEqual([]);
  },
);

it('answers nobody before it listens everywhere, and then everybody', async () => {
  const socket = join(await tempFolder(), 'api.sock');
  /** What a request is answered that came before all listeners were there. */
  async function answerTo(listenElsewhere: () => Promise<string>): Promise<{ opening: Promise<void>; answer: Promise<Answer> }> {
    const listeners = new Listeners();
    const server = buildServer({
      routes: [],
      registry: new ReopenedRegistry(undefined, () => Promise.reject(new Error('none'))),
      services: {} as RouteServices,
      opened: listeners.opened,
      checkRequest: () => undefined,
      authenticate: () => ({ id: 'uid 0', scopes: new Set(['nodes'] as const) }),
      extend: (own) => void own.post('/change', { config: { scope: 'nodes' } }, () => ({ done: true })),
      log: new CapturedLog().log,
    });
    const other = fastify();
    onTestFinished(async () => {
      listeners.refuse();
      await Promise.all([server.close(), other.close()]);
    });
    let answer: Promise<Answer> = Promise.reject(new Error('nobody asked'));
    answer.catch(() => undefined);
    listeners.add(server, { listen: () => listenOnSocket(server, { socket }, 'api.group'), onOpen: () => undefined });
    listeners.add(other, {
      async listen() {
        answer = ask({ socketPath: socket }, '/change', { method: 'POST' });
        await once(server.server, 'request');
        return listenElsewhere();
      },
      onOpen: () => undefined,
    });
    const opening = listeners.open().catch((error: unknown) => {
      listeners.refuse();
      throw error;
    });
    await opening.catch(() => undefined);
    return { opening, answer };
  }
  const taken = await answerTo(() => Promise.reject(new Failure('taken')));
  await expect(taken.opening).rejects.toThrow('taken');
  expect(await taken.answer).toMatchObject({ status: 503, body: { detail: 'The API cannot start. Nothing was done.' } });
  await rm(socket);
  const free = await answerTo(() => Promise.resolve('elsewhere'));
  expect(await free.answer).toMatchObject({ status: 200, body: { done: true } });
});

it.each([
  ['api.group', { group: 'no-such-group' }],
  ['api.remote.group', { remote: { socket: '/nowhere/remote.sock', group: 'no-such-group' } }],
  [
    'api.browser.group',
    { browser: { listen: [], origin: 'https://a.example', socket: '/nowhere/browser.sock', group: 'no-such-group' } },
  ],
])('names %s where the machine has no such group', async (field, config) => {
  const { folder } = (await AdminFixture.open()).registry;
  await expect(start(folder, config)).rejects.toThrow(`${field}: this machine has no group no-such-group`);
});

/** Files below a folder that this process has open. */
async function openBelow(folder: string): Promise<string[]> {
  const fds = await readdir('/proc/self/fd');
  const paths = await Promise.all(fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return paths.filter((path) => path.startsWith(folder));
}
