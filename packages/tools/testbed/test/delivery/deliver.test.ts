// `latchkey-controller deliver` as a process: killed, cut off, misconfigured, with many nodes.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { chmod, stat, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { formatId } from '@latchkey/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from '../../src/process.js';
import { applicationKey } from './key-feed.js';
import { DeliveryWorld, isInstalled, until } from './delivery-world.js';

const LABEL = 'mqtt-psk';
const ID = 0x0000_a1b2;

let world: DeliveryWorld;
beforeEach(async () => {
  world = await DeliveryWorld.create();
});
afterEach(() => world.remove());

const target = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  label: LABEL,
  file: world.path('keys.psk'),
  format: 'psk',
  ...more,
});
const run = (...args: readonly string[]): ReturnType<typeof runCommand> =>
  runCommand('controller', ['deliver', '--config', world.path('deliver.yaml'), ...args]);

describe('deliver', () => {
  it('writes current and former keys, and acknowledges what is delivered', async () => {
    const first = world.feed.renew(ID);
    await world.configure(target());
    await world.startDeliver();
    const second = world.feed.renew(ID);
    await world.feed.delivered();
    const lines = [second, first].map(
      ({ kid, applicationRoot }) => `${formatId(ID)}@${kid}:${applicationKey(applicationRoot, LABEL, ID)}\n`,
    );
    expect(await world.text('keys.psk')).toBe(lines.join(''));
    expect((await stat(world.path('keys.psk'))).mode & 0o777).toBe(0o600);
  });

  it('leaves the files as they are while the daemon is away, and catches up', async () => {
    world.feed.renew(ID);
    world.feed.renew(ID + 1);
    await world.configure(target());
    const deliver = await world.startDeliver();
    await until(
      async () => (await world.text('keys.psk')).includes(formatId(ID + 1)),
      () => deliver.transcript(),
    );
    const before = await world.text('keys.psk');
    await world.feed.close();
    await deliver.waitFor(({ level }) => level === 'warn');
    // Another daemon on the same socket that knows of fewer nodes before it has said that it is
    // synced.
    expect(await world.text('keys.psk')).toBe(before);
    world.feed.revoke(ID, 'removed');
    await world.feed.listen();
    await until(
      async () => /^0000a1b3@\S+\n$/.test(await world.text('keys.psk')),
      () => deliver.transcript(),
    );
  });

  // A kill at each moment between the event and the end of the hook.
  it('that is killed round the revocation of the last node leaves no key, and its hook runs', async () => {
    const hook = await world.program('hook', '$1 $LATCHKEY_REASON');
    await world.configure(target({ on_revoke: [hook, '{id}'] }));
    for (let round = 1; round <= 8; round++) {
      const idI = ID + round;
      world.feed.renew(idI);
      let deliver = await world.startDeliver();
      await until(
        async () => (await world.text('keys.psk')).includes(formatId(idI)),
        () => deliver.transcript(),
      );
      world.feed.revoke(idI, 'disabled');
      await pause(30 * (round - 1));
      await deliver.stop('SIGKILL');
      deliver = await world.startDeliver();
      await until(
        async () => (await world.text('hook.log')).includes(`${formatId(idI)} disabled`),
        () => deliver.transcript(),
      );
      expect(await world.text('keys.psk')).toBe('');
      await deliver.stop('SIGKILL');
    }
  });

  it.skipIf(!isInstalled('prlimit'))('goes on without a free file descriptor, and writes once it has one', async () => {
    world.feed.renew(ID);
    await world.configure(target());
    const deliver = await world.startDeliver();
    await world.feed.delivered();
    const open = new Set(readdirSync(`/proc/${deliver.pid}/fd`).map(Number));
    let free = 0;
    while (open.has(free)) free += 1;
    const limit = (count: number): void => {
      spawnSync('prlimit', ['--pid', String(deliver.pid), `--nofile=${count}:`], { stdio: 'inherit' });
    };
    limit(free);
    const { kid } = world.feed.renew(ID);
    await deliver.waitFor(({ msg }) => msg.includes('too many files and sockets open'));
    limit(1_024);
    await until(
      async () => (await world.text('keys.psk')).includes(`${formatId(ID)}@${kid}`),
      () => deliver.transcript(),
    );
    expect(await deliver.stop()).toBe(0);
  });

  it('has the key of each of 10,000 nodes in the file', async () => {
    for (let idI = 1; idI <= 10_000; idI++) world.feed.renew(idI);
    await world.configure(target());
    const finished = await run('--once');
    expect(finished).toMatchObject({ code: 0, stdout: '1 target is up to date\n' });
    const lines = (await world.text('keys.psk')).trimEnd().split('\n');
    expect(lines).toHaveLength(10_000);
    expect(lines.map((line) => line.slice(0, 8))).toEqual(lines.map((_, index) => formatId(index + 1)));
  });

  it('shows over HTTP whether it is synced and its targets are well', async () => {
    const http = `unix:${world.path('http.sock')}`;
    await world.file('fails', ['#!/bin/sh', 'exit 3'], 0o755);
    world.feed.renew(ID);
    await world.configure(target({ reload: [world.path('fails')] }));
    await world.startDeliver();
    await world.deliver?.stop();
    world.deliver = undefined;
    const config = world.path('deliver.yaml');
    await writeFile(config, `${await world.text('deliver.yaml')}http: ${http}\n`);
    const deliver = await world.startDeliver();
    await deliver.waitFor(({ msg }) => msg.includes('fails ended with 3'));
    const ready = (): ReturnType<typeof runCommand> => runCommand('controller', ['health', '--http', http, '--ready']);
    const notReady = await ready();
    expect(notReady.code).toBe(1);
    expect(notReady.stdout + notReady.stderr).toContain('targets');
    await world.file('fails', ['#!/bin/sh', 'exit 0'], 0o755);
    await until(
      async () => (await ready()).code === 0,
      () => deliver.transcript(),
    );
  });
});

describe('deliver --check', () => {
  it('says what the configuration is for, and changes nothing', async () => {
    await world.configure(target({ reload: ['kill', '-0', '1'] }));
    expect(await run('--check')).toMatchObject({
      code: 0,
      stdout: `${world.path('deliver.yaml')} is right: 1 target, label ${LABEL}\n`,
    });
    expect(await world.text('keys.psk')).toBe('');
  });

  it('names the line of each mistake', async () => {
    await world.configure(target({ reload: ['no-such-program'], owner: 'no-such-user', on_revoke: ['/no/such/hook'] }));
    const config = world.path('deliver.yaml');
    const { code, stderr } = await run('--check');
    expect(code).toBe(2);
    for (const field of ['reload', 'owner', 'on_revoke'])
      expect(stderr).toMatch(
        new RegExp(String.raw`${config}, line \d+: targets\.0\.${field}: (?:there is|this machine has) no `),
      );
  });

  it('refuses a configuration, and a program, that others can change', async () => {
    const hook = await world.program('hook', '');
    await world.configure(target({ on_revoke: [hook] }));
    await chmod(hook, 0o777);
    expect(await run('--check')).toMatchObject({ code: 2, stderr: expect.stringContaining(`Run: chmod go-w ${hook}`) });
    await chmod(hook, 0o755);
    await chmod(world.path('deliver.yaml'), 0o666);
    expect(await run('--check')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        `the configuration is not to be trusted: ${world.path('deliver.yaml')} can be written to by others`,
      ),
    });
  });
});

it('deliver --once fails where no key socket is', async () => {
  await world.configure(target());
  await world.feed.close();
  const finished = await run('--once');
  expect(finished.code).toBe(1);
  expect(finished.stderr).toContain(`cannot follow ${world.feed.path}`);
});
