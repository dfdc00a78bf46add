// Proves that the targets of a node have the key that it uses now: the former one until the network
// has the new one for sure, through restarts, and none that has expired.

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deriveApplicationKey, deriveApplicationRoot, deriveKeyId, type Secret } from '@latchkey/protocol';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { FormerKey } from '../src/key-lease.js';
import { NodeAgent } from '../src/node-agent.js';
import { createNodeFile } from '../src/create-node-file.js';
import { NodeFile, type StoredNode } from '../src/node-file.js';
import { msUntilActivation, NodeTargets } from '../src/targets.js';
import { ID_I, newKeyLease, newRecord, newSecret, TestController } from './fixtures.js';

const DEADLINE_MS = 120_000;
const LABEL = 'mqtt-psk';
const ID = '0000a1b2';
const LATER = { afterMs: 3_600_000, afterBoots: 8 };

function joined(more: Partial<StoredNode> = {}): StoredNode {
  const record = newRecord({ keyLease: newKeyLease(LATER), ...more });
  return { ...record, state: { ...record.state, initial: false } };
}

/** The line of a `psk` file. */
function lineOf(applicationRoot: Secret): string {
  const key = Buffer.from(deriveApplicationKey(applicationRoot, LABEL, ID_I)).toString('hex');
  return `${ID}@${deriveKeyId(applicationRoot, ID_I)}:${key}\n`;
}

function lineUnder(psk: Secret): string {
  return lineOf(deriveApplicationRoot(psk, ID_I));
}

interface Setting {
  readonly folder: string;
  readonly file: NodeFile;
  readonly path: (name: string) => string;
  readonly text: (name?: string) => Promise<string>;
  readonly open: (config?: object, target?: object, file?: NodeFile) => Promise<NodeTargets>;
}

async function setting(record: StoredNode): Promise<Setting> {
  const root = await tempFolder();
  const path = (name: string): string => join(root, name);
  const folder = path('node');
  await createNodeFile(folder, record, false);
  const file = await NodeFile.open(folder);
  const open = async (config: object = {}, target: object = {}, opened: NodeFile = file): Promise<NodeTargets> => {
    const one = { label: LABEL, file: path('keys.psk'), format: 'psk', debounce: 'none', ...target };
    // JSON is YAML.
    await writeFile(path('config.yaml'), JSON.stringify({ targets: [one], ...config }), { mode: 0o600 });
    const log = new CapturedLog().log;
    const targets = await NodeTargets.open({ configPath: path('config.yaml'), folder, file: opened, holder: 'a test', log });
    onTestFinished(() => targets.stop());
    return targets;
  };
  return { folder, file, path, text: (name = 'keys.psk') => readFile(path(name), 'utf8').catch(() => ''), open };
}

/** The times that files were made, and found as they should be. */
function writes(targets: NodeTargets): number {
  const metric = targets.telemetry.metrics.find(({ name }) => name === 'latchkey_delivery_writes_total');
  if (metric === undefined || metric.type === 'histogram') throw new Error('there is no such counter');
  const samples = metric.read();
  return typeof samples === 'number' ? samples : [...samples].reduce((sum, { value }) => sum + value, 0);
}

function written(targets: NodeTargets): Promise<void> {
  return vi.waitFor(() => expect(writes(targets)).toBeGreaterThan(0), DEADLINE_MS);
}

async function renew({ file, folder }: Setting, targets: NodeTargets, controller: TestController): Promise<void> {
  await file.write({ endpoints: [controller.endpoint] });
  const agent = new NodeAgent({ file, folder, onKeyChange: undefined, targets, log: new CapturedLog().log });
  onTestFinished(() => agent.stop());
  const joining = agent.join();
  await controller.admit();
  await joining;
}

describe('the targets of a node', () => {
  it('have its key from the start', async () => {
    const record = joined();
    const { open, text } = await setting(record);
    const targets = await open();
    targets.update();
    await targets.settle();
    expect(await text()).toBe(lineUnder(record.state.confirmed));
  });

  it('have the first key of a node at once, and nothing of its initial key', async () => {
    const record = newRecord();
    const given = await setting(record);
    const targets = await given.open({ activate_after: '10m' });
    targets.update();
    await written(targets);
    expect(await given.text()).toBe('');
    const controller = await TestController.open(record.state.confirmed);
    await renew(given, targets, controller);
    await targets.settle();
    expect(await given.text()).toBe(lineUnder(controller.psk!));
  });

  it('keep the former key until it is time, also after a restart, and have the new one then', async () => {
    const record = joined();
    const former = lineUnder(record.state.confirmed);
    const given = await setting(record);
    const first = await given.open({ activate_after: '10m' });
    first.update();
    await written(first);
    expect(await given.text()).toBe(former);
    const controller = await TestController.open(record.state.confirmed);
    await renew(given, first, controller);
    await first.stop();

    // Another process, which knows what the disk holds.
    const second = await given.open({ activate_after: '10m' }, {}, await NodeFile.open(given.folder));
    second.update();
    await written(second);
    expect(await given.text()).toBe(former);
    await second.stop();

    const third = await given.open({ activate_after: 'none' });
    third.update();
    await written(third);
    expect(await given.text()).toBe(lineUnder(controller.psk!));
  });

  it('have the new key by themselves', async () => {
    const record = joined();
    const given = await setting(record);
    const targets = await given.open({ activate_after: '1s' });
    targets.update();
    const controller = await TestController.open(record.state.confirmed);
    await renew(given, targets, controller);
    await vi.waitFor(async () => expect(await given.text()).toBe(lineUnder(controller.psk!)), DEADLINE_MS);
  });

  it('lose a key that has expired, and on_revoke hears of it', async () => {
    const record = joined();
    const { file, open, path, text } = await setting(record);
    await writeFile(path('revoked'), `#!/bin/sh\necho "$1 $LATCHKEY_REASON" >> ${path('said')}\n`, { mode: 0o755 });
    const targets = await open({}, { on_revoke: [path('revoked'), '{id}'] });
    targets.update();
    await targets.settle();
    expect(await text()).not.toBe('');
    const at = Date.now() - 7_200_000;
    await file.write({ keyLease: { joinedAt: at, at, poweredAt: -7_200_000, boots: 1, lifetime: 3_600, renewal: LATER } });
    targets.update();
    await vi.waitFor(async () => expect(await text('said')).toBe(`${ID} expired\n`), DEADLINE_MS);
    expect(await text()).toBe('');
  });

  it('have the node’s side of an OSCORE context', async () => {
    const { open, path } = await setting(joined());
    const folder = path('oscore');
    await mkdir(folder);
    const targets = await open({}, { label: undefined, file: folder, format: 'oscore' });
    targets.update();
    await targets.settle();
    const name = (await readdir(folder)).find((one) => one.startsWith(`${ID}-`)) ?? '';
    expect(JSON.parse(await readFile(join(folder, name, 'settings.json'), 'utf8'))).toMatchObject({
      'sender-id_hex': ID,
      'recipient-id_hex': '',
    });
  });
});

describe('a configuration of targets', () => {
  it.each([
    [{ activate_after: '11m' }, 'activate_after: expected 10m or less'],
    [{ activate_after: 'soon' }, 'activate_after: expected a duration'],
    [{ targets: [] }, 'targets: '],
    [{ targets: undefined, activate_after: '30s' }, 'targets: '],
    [{ targets: [{ file: '/etc/x', format: 'psk' }] }, 'targets.0.label: expected a label'],
  ])('that is wrong is refused by field: %j', async (config, message) => {
    const { open, path } = await setting(joined());
    await expect(open(config)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: expect.stringMatching(`^${path('config.yaml')}.*: ${message}`) as string,
    });
  });
});

describe('the time that targets keep the former key', () => {
  const wallMs = 1_800_000_000_000;
  const keyLease = { joinedAt: 0, at: wallMs, poweredAt: 5_000, boots: 1, lifetime: 0, renewal: undefined };
  const formerKey: FormerKey = {
    applicationRoot: newSecret(),
    replacedAt: { wallMs, poweredMs: 5_000, boots: 1 },
    expiresAt: undefined,
  };
  const now = { wallMs: wallMs + 10_000, poweredMs: 15_000, boots: 1 };

  it.each([
    ['what is left of it', { keyLease, formerKey }, now, 20_000],
    ['what is left of it, if the wall clock was set', { keyLease, formerKey }, { ...now, wallMs: 0 }, 20_000],
    ['nothing once it has passed', { keyLease, formerKey }, { ...now, poweredMs: 60_000 }, 0],
    ['nothing without a former key', { keyLease, formerKey: undefined }, now, 0],
    ['nothing if that has expired', { keyLease, formerKey: { ...formerKey, expiresAt: wallMs } }, now, 0],
    ['nothing if a candidate took its place', { keyLease: { ...keyLease, at: wallMs - 1 }, formerKey }, now, 0],
  ])('is %s', (_, record, clocks, expected) => {
    expect(msUntilActivation(record, 30_000, clocks)).toBe(expected);
  });
});
