// Proves that all a node holds is written and read back whole, strictly, for its user alone, old or
// new when it is killed.

import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Child, tempFolder } from '@latchkey/test-support/fixtures';
import { createNodeFile } from '../src/create-node-file.js';
import { NodeFile, type StoredNode } from '../src/node-file.js';
import { newRecord, newSecret } from './fixtures.js';

const KEY = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';

const secret = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((octets) => Secret.from(octets));
const id = fc.nat(0xffff_ffff);
const ms = fc.nat(2 ** 42);
/** With the clocks of another moment, or without. */
const candidate = fc.oneof(
  fc.record({ psk: secret, storedAt: ms }),
  fc.record({ psk: secret, storedAt: ms, wallMs: ms, boots: fc.nat() }).map(({ psk, storedAt, wallMs, boots }) => ({
    psk,
    storedAt,
    clocks: { wallMs, poweredMs: storedAt, boots },
  })),
);
const record: fc.Arbitrary<StoredNode> = fc.record({
  state: fc.record({
    idI: id,
    controllers: fc.oneof(fc.constant('any' as const), fc.array(id, { minLength: 1, maxLength: 3 })),
    confirmed: secret,
    initial: fc.boolean(),
    candidates: fc.array(candidate, { maxLength: 4 }),
  }),
  endpoints: fc.array(
    fc.record({
      host: fc.constantFrom('192.0.2.1', '2001:db8::1', 'controller.example'),
      port: fc.integer({ min: 1, max: 65_535 }),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  keyLease: fc.option(
    fc.record({
      joinedAt: ms,
      at: ms,
      poweredAt: ms,
      boots: fc.nat(),
      lifetime: fc.nat(0xffff_ffff),
      renewal: fc.option(fc.record({ afterMs: ms, afterBoots: fc.integer({ min: 1, max: 8 }) }), { nil: undefined }),
    }),
    { nil: undefined },
  ),
  formerKey: fc.option(
    fc.record({
      applicationRoot: secret,
      replacedAt: fc.record({ wallMs: ms, poweredMs: ms, boots: fc.nat() }),
      expiresAt: fc.option(ms, { nil: undefined }),
    }),
    { nil: undefined },
  ),
  lastAttempt: fc.option(fc.record({ at: ms, outcome: fc.string() }), { nil: undefined }),
  powered: fc.option(fc.record({ ms, boot: fc.option(fc.uuid(), { nil: undefined }), uptime_ms: ms, boots: fc.nat() }), {
    nil: undefined,
  }),
  hookPending: fc.boolean(),
});

/** With keys as digits, which can be compared. */
function plain(given: StoredNode): unknown {
  return JSON.parse(
    JSON.stringify(given, (_, value: unknown) => (value === undefined ? 'undefined' : value)).replaceAll('"undefined"', 'null'),
  );
}

/** JSON.stringify asks a Secret for JSON, which throws: so the keys go by hand. */
function withoutKeys(given: StoredNode): StoredNode {
  const { state, formerKey } = given;
  const digits = (key: Secret): never => key.toHex() as never;
  return {
    ...given,
    state: {
      ...state,
      confirmed: digits(state.confirmed),
      candidates: state.candidates.map(({ psk, ...times }) => Object.assign({ psk: digits(psk) }, times)),
    },
    // A record without the field is one that has `undefined` there.
    formerKey: formerKey && { ...formerKey, applicationRoot: digits(formerKey.applicationRoot) },
  };
}

async function installed(given: StoredNode = newRecord()): Promise<{ folder: string; path: string; file: NodeFile }> {
  const folder = join(await tempFolder(), 'node');
  await createNodeFile(folder, given, false);
  return { folder, path: join(folder, 'node.json'), file: await NodeFile.open(folder) };
}

describe('what a node holds', () => {
  it('is read back as it was written', async () => {
    const folder = await tempFolder();
    await fc.assert(
      fc.asyncProperty(record, async (given) => {
        await createNodeFile(folder, given, true);
        expect(plain(withoutKeys((await NodeFile.open(folder)).record))).toEqual(plain(withoutKeys(given)));
      }),
      { numRuns: 40 },
    );
  });

  it('is one file of mode 0600 in a folder of mode 0700, also after it was changed', async () => {
    const { folder, path, file } = await installed();
    await file.write({ hookPending: true });
    expect([(await stat(folder)).mode & 0o777, (await stat(path)).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(await readdir(folder)).toEqual(['node.json']);
  });

  it('changes field by field, on the disk before in memory', async () => {
    const { folder, file } = await installed();
    const before = file.record;
    const writing = file.write({ hookPending: true });
    expect(file.record).toBe(before);
    await writing;
    expect(file.record).toEqual({ ...before, hookPending: true });
    expect((await NodeFile.open(folder)).record.hookPending).toBe(true);
  });

  it('changes in the order of the calls, each on top of the one before', async () => {
    const { folder, file } = await installed(newRecord({ hookPending: true }));
    const [state, seen] = [{ ...newRecord().state, initial: false }, [] as boolean[]];
    await Promise.all([
      file.write({ state }),
      file.write((record) => {
        seen.push(record.state === state);
        return { hookPending: false };
      }),
      file.write({ lastAttempt: { at: 0, outcome: 'joined' } }),
    ]);
    expect(seen).toEqual([true]);
    const { record } = await NodeFile.open(folder);
    expect([record.state.confirmed.toHex(), record.state.initial, record.hookPending, record.lastAttempt?.outcome]).toEqual([
      state.confirmed.toHex(),
      false,
      false,
      'joined',
    ]);
  });

  it('changes after a write that failed', async () => {
    const { folder, file } = await installed();
    await rm(folder, { recursive: true });
    const failing = file.write({ hookPending: true });
    await expect(failing).rejects.toMatchObject({ name: 'Failure' });
    await mkdir(folder, { mode: 0o700 });
    await file.write({ hookPending: true });
    expect((await NodeFile.open(folder)).record.hookPending).toBe(true);
  });

  it('stays as it was, on disk and in memory, where it cannot be written', async () => {
    const { folder, file } = await installed();
    await rm(folder, { recursive: true });
    const before = file.record;
    await expect(file.write({ hookPending: true })).rejects.toMatchObject({ name: 'Failure' });
    expect(file.record).toBe(before);
  });

  it('is not overwritten by another installation unless told so', async () => {
    const { folder, path } = await installed();
    const before = await readFile(path, 'utf8');
    await expect(createNodeFile(folder, newRecord(), false)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${folder} holds an installed node already`,
      advice: expect.stringContaining('--replace') as string,
    });
    expect(await readFile(path, 'utf8')).toBe(before);
    const other = newRecord();
    await createNodeFile(folder, other, true);
    expect((await NodeFile.open(folder)).record.state.confirmed.toHex()).toBe(other.state.confirmed.toHex());
  });

  it('is missed in words', async () => {
    const folder = await tempFolder();
    await expect(NodeFile.open(folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${folder} holds no installed node`,
      // Not the command that installs one there: the path may be mistyped.
      run: [['latchkey-node-agent', 'install', '--help']],
    });
  });
});

describe('a file', () => {
  const good = {
    version: 1,
    id: '0000a1b2',
    controllers: ['00000001'],
    addresses: ['192.0.2.1:5683'],
    confirmed: { key: KEY, initial: true },
    candidates: [],
    membership: null,
    last_attempt: null,
    powered: null,
    hook_due: false,
  };
  const candidate = { psk: KEY, stored_at: 0 };

  it.each<[string, object, string]>([
    ['of another version', { ...good, version: 2 }, 'version: was written by another version of Latchkey'],
    ['of no version', { ...good, version: undefined }, 'version: '],
    ['with a field too many', { ...good, note: KEY }, 'unknown key note'],
    ['with an ID of 7 digits', { ...good, id: '000a1b2' }, 'id: expected 8 hex digits'],
    ['with no controller', { ...good, controllers: [] }, 'controllers: '],
    ['with a controller that is no ID', { ...good, controllers: ['one'] }, 'controllers'],
    ['with a controller that is a number', { ...good, controllers: 1 }, 'controllers: expected any, or a list'],
    ['with no address', { ...good, addresses: [] }, 'addresses: '],
    ['with an address on port 0', { ...good, addresses: ['192.0.2.1:0'] }, 'addresses.0: expected HOST:PORT'],
    [
      'with a key of 31 digits',
      { ...good, confirmed: { key: KEY.slice(1), initial: true } },
      'confirmed.key: expected 32 hex digits',
    ],
    ['with no key', { ...good, confirmed: { initial: true } }, 'confirmed.key: '],
    ['with five candidates', { ...good, candidates: Array.from({ length: 5 }, () => candidate) }, 'candidates: '],
    ['with a candidate of no age', { ...good, candidates: [{ psk: KEY }] }, 'candidates.0.stored_at: '],
    ['with a candidate that is no key', { ...good, candidates: [{ ...candidate, psk: `${KEY}00` }] }, 'candidates.0.psk: '],
    ['with a hook that is no yes or no', { ...good, hook_due: 'no' }, 'hook_due: '],
    [
      'with half a membership',
      { ...good, membership: { at: '2026-01-01T00:00:00Z', joined_at: '2026-01-01T00:00:00Z' } },
      'membership.powered_at: ',
    ],
    ['with half a former key', { ...good, former: { application_root: KEY } }, 'former.replaced_at: '],
    ['with a former key that is none', { ...good, former: { application_root: `${KEY}00` } }, 'former.application_root: '],
    ['that is a list', [good], 'expected names with values'],
  ])('%s is refused by field, without its keys', async (_, json, message) => {
    const { folder, path } = await installed();
    await writeFile(path, JSON.stringify(json));
    const refused = await NodeFile.open(folder).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure', message: expect.stringContaining(message) as string });
    expect((refused as Error).message).toContain(`${path}: `);
    expect(String((refused as Error).stack)).not.toContain(KEY.slice(1, 12));
  });

  it('that is as it should be opens', async () => {
    const { folder, path } = await installed();
    await writeFile(path, JSON.stringify(good));
    expect((await NodeFile.open(folder)).record.state.confirmed.toHex()).toBe(KEY);
  });

  it.each(['', '{', `{"confirmed":${KEY}}`])('that is not JSON (%j) is refused without a word of what it holds', async (text) => {
    const { folder, path } = await installed();
    await writeFile(path, text);
    const refused = await NodeFile.open(folder).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure', message: `${path}: not JSON` });
    expect(String((refused as Error).stack)).not.toContain(KEY.slice(0, 6));
  });

  it('that others can read is refused', async () => {
    const { folder, path } = await installed();
    await chmod(path, 0o644);
    await expect(NodeFile.open(folder)).rejects.toMatchObject({ name: 'UsageFailure', advice: `Run: chmod 600 ${path}` });
  });
});

describe('a node that is killed', () => {
  const WRITER = `
    import { writeSync } from 'node:fs';
    import { NodeFile } from ${JSON.stringify(new URL('../dist/node-file.js', import.meta.url).href)};
    import { Secret } from ${JSON.stringify(new URL('../../protocol/dist/index.js', import.meta.url).href)};
    const file = await NodeFile.open(process.argv[1]);
    const key = (i) => { const octets = Buffer.alloc(16, i); return Secret.from(octets); };
    for (let i = 1; ; i = (i % 200) + 1) {
      // Confirmed key and candidates say the same number: a mix of two writes would show.
      const candidates = [1, 2, 3, 4].map((storedAt) => ({ psk: key(i), storedAt }));
      const writing = file.write({ state: { ...file.record.state, confirmed: key(i), candidates }, powered: { ms: i, boot: undefined, uptime_ms: i, boots: i } });
      // Now, so that the kill comes while it is written.
      if (i % 4 === 0) writeSync(1, i + '\\n');
      await writing;
    }`;

  async function killWhileWriting(folder: string, writes: number): Promise<void> {
    const child = new Child(WRITER, [folder]);
    for (let lines = 0; lines < writes; lines++) expect(await child.line()).toBeDefined();
    await child.kill('SIGKILL');
  }

  it('between two writes or within one has one of the two, whole', async () => {
    const { folder } = await installed();
    for (let round = 0; round < 6; round++) {
      await killWhileWriting(folder, round + 1);
      const { state, powered } = (await NodeFile.open(folder)).record;
      const keys = [state.confirmed, ...state.candidates.map(({ psk }) => psk)].map((key) => key.toHex());
      expect(keys).toHaveLength(5);
      expect(new Set(keys).size).toBe(1);
      expect(powered?.ms).toBe(Number.parseInt(keys[0]!.slice(0, 2), 16));
    }
  });

  it('leaves no key behind that the next write erases: the folder has one file again', async () => {
    const { folder } = await installed();
    for (let round = 0; round < 6; round++) await killWhileWriting(folder, 1);
    await (await NodeFile.open(folder)).write({ state: { ...newRecord().state, confirmed: newSecret() } });
    expect(await readdir(folder)).toEqual(['node.json']);
  });
});
