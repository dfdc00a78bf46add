// Targets at work: real files, real programs, and what is done again after a crash.

import { watch } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createLog, type Log } from '@latchkey/runtime/daemon';
import { ensurePrivateFolder } from '@latchkey/runtime/files';
import { LabelledCounter } from '@latchkey/runtime/telemetry';
import * as z from 'zod/mini';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Deliverer } from '../../src/targets/deliverer.js';
import { Journal } from '../../src/targets/journal.js';
import { KeySnapshot, type DeliveredNode } from '../../src/targets/key-snapshot.js';
import { RevocationHooks } from '../../src/targets/revocation-hooks.js';
import { OSCORE_LABELS, targetsSchema } from '../../src/targets/target-config.js';
import { keyHex, LABEL, node } from './generations.js';

const DEADLINE_MS = 120_000;

let log: Log;
let folder: string;
let opened: Deliverer | undefined;
beforeAll(async () => {
  log = await createLog('deliver', 'error', 'stderr');
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-target-'));
});
afterEach(async () => {
  await opened?.stop();
  opened = undefined;
  await rm(folder, { recursive: true });
});

const path = (name: string): string => join(folder, name);
const text = (name: string): Promise<string> => readFile(path(name), 'utf8').catch(() => '');

async function open(...configs: readonly Record<string, unknown>[]): Promise<Deliverer> {
  const targets = z.parse(
    targetsSchema,
    configs.map((config) => Object.assign({ label: LABEL, file: path('keys.psk'), format: 'psk' }, config)),
  );
  opened = await Deliverer.open({
    targets,
    folder: path('state'),
    holder: 'a test',
    overlap: undefined,
    role: 'network',
    log,
  });
  return opened;
}

/**
 * A program that appends a line to a file, and then ends with what `ends` does. By default it fails
 * while there is `name.code`.
 */
async function program(name: string, line: string, ends = `[ ! -e ${path(`${name}.code`)} ]`): Promise<string> {
  const script = `#!/bin/sh\necho "${line}" >> ${path(`${name}.log`)}\n${ends}\n`;
  await writeFile(path(name), script);
  await chmod(path(name), 0o755);
  return path(name);
}

function oscoreNode(id: string): DeliveredNode {
  const keys = { [LABEL]: keyHex(), [OSCORE_LABELS.secret]: keyHex(), [OSCORE_LABELS.salt]: keyHex() };
  return node(id, { keys });
}

function snapshotOf(...nodes: readonly DeliveredNode[]): KeySnapshot {
  const snapshot = new KeySnapshot();
  for (const one of nodes) snapshot.set(one);
  return snapshot;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; !(await condition());) {
    if (Date.now() > deadline) throw new Error('it did not come to that');
    await pause(20);
  }
}

async function journalName(): Promise<string> {
  return (await readdir(path('state'))).find((name) => name.startsWith('delivered-')) ?? 'none';
}

const settled = (deliverer: Deliverer): Promise<void> => until(() => deliverer.isSettled);

function count(deliverer: Deliverer, name: string, outcome: string): number {
  const metric = deliverer.metrics.find((one) => one.name === name);
  if (metric === undefined || metric.type === 'histogram') throw new Error(`there is no counter ${name}`);
  const samples = metric.read();
  if (typeof samples === 'number') return samples;
  return [...samples].find(({ labels }) => labels?.['outcome'] === outcome)?.value ?? 0;
}

describe('a target', () => {
  it('is not touched before a snapshot is complete, and an empty snapshot empties it', async () => {
    await writeFile(path('keys.psk'), 'before');
    const deliverer = await open({});
    deliverer.set(node('00000001'));
    deliverer.revoke('00000002', 'removed');
    await settled(deliverer);
    expect(await text('keys.psk')).toBe('before');
    deliverer.replaceSnapshot(new KeySnapshot());
    await until(async () => (await text('keys.psk')) === '');
    expect((await stat(path('keys.psk'))).mode & 0o777).toBe(0o600);
  });

  it('reloads its program after a change, and only then', async () => {
    const reload = await program('reload', 'reload');
    const deliverer = await open({ reload: [reload] });
    const one = node('00000001');
    deliverer.replaceSnapshot(snapshotOf(one));
    await settled(deliverer);
    deliverer.replaceSnapshot(snapshotOf(one));
    await settled(deliverer);
    expect(await text('reload.log')).toBe('reload\n');
    expect(count(deliverer, 'latchkey_delivery_writes_total', 'same')).toBe(1);
    deliverer.set(node('00000002'));
    await until(async () => (await text('keys.psk')).includes('00000002@'));
    await settled(deliverer);
    expect(await text('reload.log')).toBe('reload\nreload\n');
  });

  it('reloads its program if the file was lost, as in /run after a boot, until that succeeds', async () => {
    const reload = await program('reload', 'reload');
    const one = node('00000001');
    const before = await open({ reload: [reload] });
    before.replaceSnapshot(snapshotOf(one));
    await settled(before);
    await before.stop();
    await rm(path('keys.psk'));
    await rm(path('reload.log'));
    await writeFile(path('reload.code'), '');
    const failing = await open({ reload: [reload] });
    failing.replaceSnapshot(snapshotOf(one));
    await until(() => count(failing, 'latchkey_delivery_reloads_total', 'failed') >= 2);
    await failing.stop();
    await rm(path('reload.code'));
    const after = await open({ reload: [reload] });
    after.replaceSnapshot(snapshotOf(one));
    await settled(after);
    expect(count(after, 'latchkey_delivery_writes_total', 'same')).toBe(1);
    expect(count(after, 'latchkey_delivery_reloads_total', 'ok')).toBe(1);
  });

  it.each([{ format: 'psk' }, { format: 'oscore', label: undefined, file: 'contexts' }])(
    'reloads its program if files of format $format were lost, though the journal cannot be written for a while',
    async ({ file, ...format }) => {
      const config = { ...format, ...(file === undefined ? {} : { file: path(file) }) };
      if (file !== undefined) await mkdir(path(file));
      const reload = await program('reload', 'reload');
      const one = oscoreNode('00000001');
      const before = await open({ ...config, reload: [reload] });
      before.replaceSnapshot(snapshotOf(one));
      await settled(before);
      await before.stop();
      await rm(path(file ?? 'keys.psk'), { recursive: true });
      if (file !== undefined) await mkdir(path(file));
      const blocker = path(`state/.${await journalName()}.new`);
      await mkdir(blocker);
      const failing = await open({ ...config, reload: [reload] });
      failing.replaceSnapshot(snapshotOf(one));
      await until(() => failing.fault?.includes('cannot write') === true);
      await rm(blocker, { recursive: true });
      await settled(failing);
      expect(await text('reload.log')).toBe('reload\nreload\n');
    },
  );

  it('is written once for many changes that come together', async () => {
    const deliverer = await open({});
    deliverer.replaceSnapshot(new KeySnapshot());
    await settled(deliverer);
    for (let id = 1; id <= 300; id++) deliverer.set(node(id.toString(16).padStart(8, '0')));
    await settled(deliverer);
    expect((await text('keys.psk')).split('\n')).toHaveLength(301);
    expect(count(deliverer, 'latchkey_delivery_writes_total', 'changed')).toBe(2);
  });

  it('does not let a revocation wait for changes that follow it', async () => {
    const deliverer = await open({ debounce: '100h', max_wait: '100h' });
    deliverer.replaceSnapshot(snapshotOf(node('00000001'), node('00000002')));
    await until(async () => (await text('keys.psk')).split('\n').length === 3);
    await settled(deliverer);
    deliverer.revoke('00000001', 'disabled');
    deliverer.set(node('00000003'));
    await until(async () => (await text('keys.psk')).startsWith('00000002@'));
    expect(await text('keys.psk')).toMatch(/^00000002@\S+\n00000003@\S+\n$/);
  });

  it('repeats a reload that fails, and shows the failure until it succeeds', async () => {
    await writeFile(path('reload.code'), '');
    const reload = await program('reload', 'reload');
    const deliverer = await open({ reload: [reload] });
    const [check] = deliverer.checks;
    deliverer.replaceSnapshot(snapshotOf(node('00000001')));
    await until(() => count(deliverer, 'latchkey_delivery_reloads_total', 'failed') >= 2);
    expect(await check?.run()).toContain(`1 of 1 targets fail: targets.0.reload: ${reload} ended with 1`);
    await rm(path('reload.code'));
    await settled(deliverer);
    expect(await check?.run()).toBeUndefined();
    expect(count(deliverer, 'latchkey_delivery_writes_total', 'changed')).toBe(1);
  });

  it('loses a key as it expires, without a word from the source', async () => {
    const hook = await program('hook', '$LATCHKEY_ID $LATCHKEY_REASON');
    const deliverer = await open({ on_revoke: [hook] });
    deliverer.replaceSnapshot(snapshotOf(node('00000001', { notAfter: Date.now() + 10_000 }), node('00000002')));
    await until(async () => (await text('hook.log')) === '00000001 expired\n');
    expect(await text('keys.psk')).toMatch(/^00000002@[0-9a-f]{8}:[0-9a-f]{32}\n$/);
  });

  it('has a second file of the same keys, written first', async () => {
    await writeFile(path('acl.tmpl'), 'user {id}@{kid}\ntopic write nodes/{id}/#\n');
    const deliverer = await open({ also: [{ file: path('acl'), template: path('acl.tmpl') }] });
    deliverer.replaceSnapshot(snapshotOf(node('00000001', { kid: '11223344' })));
    await settled(deliverer);
    expect(await text('acl')).toBe('user 00000001@11223344\ntopic write nodes/00000001/#\n');
    expect(await text('keys.psk')).toMatch(/^00000001@11223344:/);
  });

  it('holds 10,000 nodes', async () => {
    const deliverer = await open({});
    const ids = Array.from({ length: 10_000 }, (_, index) => (index * 7 + 1).toString(16).padStart(8, '0'));
    deliverer.replaceSnapshot(snapshotOf(...ids.map((id) => node(id))));
    await settled(deliverer);
    const lines = (await text('keys.psk')).trimEnd().split('\n');
    expect(lines.map((line) => line.slice(0, 8))).toEqual(ids);
    deliverer.revoke('00000001', 'disabled');
    await settled(deliverer);
    expect((await text('keys.psk')).trimEnd().split('\n')).toHaveLength(9_999);
  });
});

describe('a revocation', () => {
  it('takes all generations out of the file, then runs on_revoke', async () => {
    const hook = await program('hook', `$1 $LATCHKEY_REASON [$(cat ${path('keys.psk')})]`);
    const deliverer = await open({ on_revoke: [hook, '{id}'] });
    const now = Date.now();
    const former = [{ kid: '00000002', keys: node('00000001').current.keys, notAfter: undefined, until: now + 600_000 }];
    deliverer.replaceSnapshot(snapshotOf(node('00000001', { joinedAt: now }, former)));
    await settled(deliverer);
    expect((await text('keys.psk')).split('\n')).toHaveLength(3);
    deliverer.revoke('00000001', 'disabled');
    await settled(deliverer);
    expect(await text('hook.log')).toBe('00000001 disabled []\n');
  });

  it('is notified even if the node has a key again before the file is written', async () => {
    const hook = await program('hook', '$LATCHKEY_ID');
    const deliverer = await open({ on_revoke: [hook] });
    deliverer.replaceSnapshot(snapshotOf(node('00000001')));
    await settled(deliverer);
    deliverer.revoke('00000001', 'disabled');
    deliverer.set(node('00000001'));
    await settled(deliverer);
    expect(await text('hook.log')).toBe('00000001\n');
    expect(await text('keys.psk')).toContain('00000001@');
  });

  it('takes the key out of the file while the program of another node hangs', async () => {
    const hook = await program('hook', '$1', `while [ $1 = 00000001 ] && [ ! -e ${path('release')} ]; do sleep 0.1; done`);
    const deliverer = await open({ on_revoke: [hook, '{id}'] });
    deliverer.replaceSnapshot(snapshotOf(node('00000001'), node('00000002')));
    await settled(deliverer);
    deliverer.revoke('00000001', 'disabled');
    await until(async () => (await text('hook.log')) === '00000001\n');
    deliverer.revoke('00000002', 'disabled');
    deliverer.set(node('00000003'));
    await until(async () => /^00000003@\S+\n$/.test(await text('keys.psk')));
    for (const outcome of ['notified', 'failed'])
      expect(count(deliverer, 'latchkey_delivery_revocations_total', outcome)).toBe(0);
    expect(deliverer.isSettled).toBe(false);
    await writeFile(path('release'), '');
    await settled(deliverer);
    expect(await text('hook.log')).toBe('00000001\n00000002\n');
  });

  it('is notified while the program of another node fails, which is run again', async () => {
    const hook = await program('hook', '$1', `[ $1 != 00000001 ] || [ -e ${path('release')} ]`);
    const deliverer = await open({ on_revoke: [hook, '{id}'] });
    deliverer.replaceSnapshot(snapshotOf(node('00000001'), node('00000002')));
    await settled(deliverer);
    deliverer.revoke('00000001', 'disabled');
    await until(() => count(deliverer, 'latchkey_delivery_revocations_total', 'failed') >= 1);
    expect(deliverer.fault).toContain('on_revoke');
    deliverer.revoke('00000002', 'disabled');
    await until(async () => (await text('hook.log')).includes('00000002'));
    await writeFile(path('release'), '');
    await settled(deliverer);
    expect(deliverer.fault).toBeUndefined();
    expect(count(deliverer, 'latchkey_delivery_revocations_total', 'notified')).toBe(2);
  });

  it('starts no other program once the process stops, though a reload hangs', async () => {
    const hook = await program('hook', '$LATCHKEY_ID', `while [ ! -e ${path('release')} ]; do sleep 0.1; done`);
    const reload = await program('reload', 'reload', `[ ! -e ${path('hang')} ] || sleep 1000`);
    const deliverer = await open({ on_revoke: [hook], reload: [reload] });
    deliverer.replaceSnapshot(snapshotOf(node('00000001'), node('00000002')));
    await settled(deliverer);
    deliverer.replaceSnapshot(new KeySnapshot());
    await until(async () => (await text('hook.log')) === '00000001\n');
    await writeFile(path('hang'), '');
    deliverer.set(node('00000003'));
    await until(async () => (await text('reload.log')) === 'reload\nreload\nreload\n');
    const stopped = deliverer.stop();
    await writeFile(path('release'), '');
    await stopped;
    expect(await text('hook.log')).toBe('00000001\n');
    expect(count(deliverer, 'latchkey_delivery_revocations_total', 'notified')).toBe(1);
  });

  it('of many nodes together writes the journal once a second at most', async () => {
    const hook = await program('hook', '$LATCHKEY_ID');
    const deliverer = await open({ on_revoke: [hook] });
    const ids = Array.from({ length: 40 }, (_, index) => (index + 1).toString(16).padStart(8, '0'));
    deliverer.replaceSnapshot(snapshotOf(...ids.map((id) => node(id))));
    await settled(deliverer);
    let writes = 0;
    const watcher = watch(path('state'), (event, name) => {
      if (event === 'rename' && /^delivered-\w+\.json$/.test(name ?? '')) writes += 1;
    });
    const startedAt = performance.now();
    deliverer.replaceSnapshot(new KeySnapshot());
    await settled(deliverer);
    watcher.close();
    expect((await text('hook.log')).trimEnd().split('\n')).toEqual(ids);
    expect(JSON.parse(await text(`state/${await journalName()}`))).toMatchObject({ nodes: [] });
    // One for the reload, one for the first node, one at the end.
    expect(writes).toBeGreaterThan(0);
    expect(writes).toBeLessThanOrEqual(3 + (performance.now() - startedAt) / 1_000);
  });

  it('is notified once, though the journal cannot be written for a while', async () => {
    const deliverer = await open({});
    deliverer.replaceSnapshot(snapshotOf(node('00000001'), node('00000002')));
    await settled(deliverer);
    await deliverer.stop();
    // What is written aside is to have this name.
    const blocker = path(`state/.${await journalName()}.new`);
    const hook = await program('hook', '$LATCHKEY_ID', `mkdir -p ${blocker}`);
    const notifying = await open({ on_revoke: [hook] });
    notifying.replaceSnapshot(snapshotOf(node('00000001'), node('00000002')));
    await settled(notifying);
    notifying.revoke('00000001', 'disabled');
    await until(() => notifying.fault?.includes('cannot write') === true);
    await rm(blocker, { recursive: true });
    await settled(notifying);
    expect(notifying.fault).toBeUndefined();
    expect(count(notifying, 'latchkey_delivery_revocations_total', 'failed')).toBe(0);
    expect(await text('hook.log')).toBe('00000001\n');
  });

  it('is notified, though it comes while the journal cannot be written', async () => {
    await ensurePrivateFolder(path('state'));
    const journal = await Journal.open(path('state'), path('keys.psk'));
    await journal.add(new Set(['00000001', '00000002']));
    const blocker = path(`state/.${await journalName()}.new`);
    await mkdir(blocker);
    const outcomes = new LabelledCounter<'notified' | 'failed'>(['notified', 'failed']);
    let isLate = false;
    const hooks: RevocationHooks = new RevocationHooks({
      target: {
        config: { file: path('keys.psk'), on_revoke: [await program('hook', '$LATCHKEY_ID')] },
        field: 'targets.0',
        runAs: undefined,
      },
      journal,
      outcomes,
      log,
      signal: new AbortController().signal,
      // Asked just before the journal is written.
      isGivenOut() {
        if (!isLate) hooks.add('00000002', 'disabled', true);
        isLate = true;
        return false;
      },
      onIdle: () => undefined,
    });
    hooks.add('00000001', 'disabled', true);
    await until(() => hooks.fault?.includes('cannot write') === true);
    await rm(blocker, { recursive: true });
    await until(() => hooks.isIdle);
    expect(await text('hook.log')).toBe('00000001\n00000002\n');
    expect([...journal.nodes]).toEqual([]);
  });

  it('is notified by the next process if this one ends before its program succeeds', async () => {
    const hook = await program('hook', '$LATCHKEY_ID');
    await writeFile(path('hook.code'), '');
    const before = await open({ on_revoke: [hook] });
    before.replaceSnapshot(snapshotOf(node('00000001'), node('00000002')));
    await settled(before);
    before.revoke('00000001', 'removed');
    await until(() => count(before, 'latchkey_delivery_revocations_total', 'failed') >= 1);
    await before.stop();
    await rm(path('hook.code'));
    await rm(path('hook.log'));
    const after = await open({ on_revoke: [hook] });
    // Meanwhile the other was revoked, too, and is the last.
    after.replaceSnapshot(new KeySnapshot());
    await settled(after);
    expect((await text('hook.log')).split('\n').toSorted()).toEqual(['', '00000001', '00000002']);
    expect(await text('keys.psk')).toBe('');
  });
});

it('a reload that a crash cut off is done by the next process', async () => {
  const reload = await program('reload', 'reload');
  await writeFile(path('reload.code'), '');
  const one = node('00000001');
  const before = await open({ reload: [reload] });
  before.replaceSnapshot(snapshotOf(one));
  await until(() => count(before, 'latchkey_delivery_reloads_total', 'failed') >= 1);
  await before.stop();
  await rm(path('reload.code'));
  const after = await open({ reload: [reload] });
  after.replaceSnapshot(snapshotOf(one));
  await settled(after);
  expect(count(after, 'latchkey_delivery_writes_total', 'same')).toBe(1);
  expect(count(after, 'latchkey_delivery_reloads_total', 'ok')).toBe(1);
});

describe('a configuration is refused', () => {
  it('with a program, or a template, that others can change', async () => {
    const reload = await program('reload', 'reload');
    await chmod(reload, 0o777);
    await expect(open({ reload: [reload] })).rejects.toThrow(`${reload} can be written to by others`);
    await writeFile(path('t'), '{id}');
    await chmod(path('t'), 0o666);
    await expect(open({ format: 'template', template: path('t') })).rejects.toThrow('can be written to by others');
  });

  it('with a program or a user that does not exist', async () => {
    await expect(open({ reload: ['no-such-program'] })).rejects.toThrow('targets.0.reload: there is no program no-such-program');
    await expect(open({ owner: 'no_such_user' })).rejects.toThrow('targets.0.owner: this machine has no user no_such_user');
    await expect(open({ run_as: 'root:no_such_group' })).rejects.toThrow('this machine has no group no_such_group');
  });
});
