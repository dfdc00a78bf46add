// Proves that `join --now` of root signals the agent only, whatever the agent's user wrote.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LOCK_FILE, lockFolder } from '@latchkey/runtime/files';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { expect, it, onTestFinished } from 'vitest';
import { askAgent } from '../src/join-now.js';

it('signals no process that does not have the folder', async () => {
  const folder = await tempFolder();
  const lock = await lockFolder(folder, 'latchkey-node-agent run');
  const other = spawn('sleep', ['600'], { stdio: 'ignore' });
  const ended = once(other, 'exit');
  onTestFinished(async () => {
    other.kill('SIGKILL');
    await ended;
    await lock.release();
  });
  const holder = `latchkey-node-agent run (process ${other.pid}, since 2026-01-01T00:00:00.000Z)`;
  await writeFile(join(folder, LOCK_FILE), `${holder}\n${await readlink('/proc/self/ns/pid')}\n`);
  await expect(askAgent(folder)).rejects.toThrow(`${holder} is not the process that has the folder ${folder}`);
  expect(other.kill(0)).toBe(true);
  expect([other.exitCode, other.signalCode]).toEqual([null, null]);
});

it('signals nobody in another container', async () => {
  const folder = await tempFolder();
  const lock = await lockFolder(folder, 'latchkey-node-agent run');
  onTestFinished(() => lock.release());
  await writeFile(join(folder, LOCK_FILE), 'latchkey-node-agent run (process 1, since 2026-01-01T00:00:00.000Z)\npid:[1]\n');
  await expect(askAgent(folder)).rejects.toThrow('in another container');
});
