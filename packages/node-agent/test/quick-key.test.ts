// Proves that the quick way to `key` leaves to the program whatever the program would refuse. That
// both print the same is shown with the installed command (testbed/test/key-command).

import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { expect, it } from 'vitest';
import { createNodeFile } from '../src/create-node-file.js';
import type { StoredNode } from '../src/node-file.js';
import { printFromFile } from '../src/quick-key.js';
import { newKeyLease, newRecord } from './fixtures.js';

const POWERED = { ms: 0, boot: undefined, uptime_ms: 0, boots: 1 };
const AN_HOUR_AGO = { ...newKeyLease(undefined)!, at: Date.now() - 3_600_000, poweredAt: -3_600_000, lifetime: 60 };

function joined(more: Partial<StoredNode> = {}): StoredNode {
  const record = newRecord({ keyLease: newKeyLease(undefined), powered: POWERED, ...more });
  return { ...record, state: { ...record.state, initial: false } };
}

async function installed(record: StoredNode): Promise<{ readonly folder: string; readonly path: string }> {
  const folder = await tempFolder();
  await createNodeFile(folder, record, false);
  return { folder, path: join(folder, 'node.json') };
}

function quick(folder: string, ...more: readonly string[]): boolean {
  return printFromFile(['--state', folder, '--label', 'mqtt-psk', ...more]);
}

it.each<[string, StoredNode, readonly string[]]>([
  ['has its initial key', newRecord({ powered: POWERED }), []],
  ['has not counted its time yet', joined({ powered: undefined }), []],
  ['has a key that has expired', joined({ keyLease: AN_HOUR_AGO }), []],
  ['has no former key', joined(), ['--previous']],
  ['is named', joined(), ['0000a1b2']],
])('a node that %s', async (_, record, options) => {
  const { folder } = await installed(record);
  expect(quick(folder, ...options)).toBe(false);
});

it('no node', async () => {
  expect(quick(await tempFolder())).toBe(false);
});

it('a file that others can read', async () => {
  const { folder, path } = await installed(joined());
  await chmod(path, 0o640);
  expect(quick(folder)).toBe(false);
});

it.each<[string, (json: Record<string, unknown>) => unknown]>([
  ['of another version', (json) => ({ ...json, version: 2 })],
  ['with an ID that is none', (json) => ({ ...json, id: '0000a1b' })],
  ['with a key that is none', (json) => ({ ...json, confirmed: { key: 'secret', initial: false } })],
  [
    'that does not say whether its key is the initial one',
    (json) => ({ ...json, confirmed: { ...(json['confirmed'] as object), initial: null } }),
  ],
  ['with half a membership', (json) => ({ ...json, membership: { at: '2026-01-01T00:00:00Z', renew_after: null } })],
  ['without powered time', (json) => ({ ...json, powered: {} })],
  ['with a former key that is none', (json) => ({ ...json, former: { application_root: 'secret' } })],
  ['with a former key of no date', (json) => ({ ...json, former: { application_root: '00'.repeat(16), replaced_at: 'once' } })],
  ['that is a list', (json) => [json]],
])('a file %s', async (_, change) => {
  const { folder, path } = await installed(joined());
  const json = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
  await writeFile(path, JSON.stringify(change(json)));
  expect(quick(folder)).toBe(false);
});

it('a file that is not JSON', async () => {
  const { folder, path } = await installed(joined());
  await writeFile(path, '{');
  expect(quick(folder)).toBe(false);
});
