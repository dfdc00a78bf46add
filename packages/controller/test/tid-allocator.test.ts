// Proves that no TID is ever given twice, whatever happens to the process, the file and the clock,
// and that SK_cs is counted.

import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Secret } from '@latchkey/protocol';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CapturedLog, Child, tempFolder } from '@latchkey/test-support/fixtures';
import { TidAllocator } from '../src/tid-allocator.js';
import { newSecret } from './fixtures.js';

const WALL = 1_795_000_000_000;
const SK_CS = newSecret();

async function newPath(): Promise<string> {
  return join(await tempFolder(), 'serials.json');
}

function openAt(path: string, wall: number, skCs: Secret = SK_CS, log: CapturedLog = new CapturedLog()): Promise<TidAllocator> {
  return TidAllocator.open(path, { idC: 1, skCs }, wall, log.log);
}

/** The next `n` TIDs, all of which must be there. */
function take(allocator: TidAllocator, n: number): bigint[] {
  return Array.from({ length: n }, () => {
    const tid = allocator.next();
    if (tid === undefined) throw new Error('no TID');
    return tid;
  });
}

/** All that can be had without waiting. */
function drain(allocator: TidAllocator): bigint[] {
  const tids: bigint[] = [];
  for (let tid = allocator.next(); tid !== undefined; tid = allocator.next()) tids.push(tid);
  return tids;
}

/** The next TID once one has been stored ahead. */
async function awaitTid(allocator: TidAllocator): Promise<bigint> {
  for (;;) {
    const tid = allocator.next();
    if (tid !== undefined) return tid;
    await new Promise(setImmediate);
  }
}

function expectIncreasing(tids: readonly bigint[]): void {
  for (let i = 1; i < tids.length; i++) expect(tids[i]! > tids[i - 1]!, `${tids[i - 1]} then ${tids[i]}`).toBe(true);
}

async function fileOf(path: string): Promise<{ last_tid: string; sk_cs: string; messages: number }> {
  return JSON.parse(await readFile(path, 'utf8')) as { last_tid: string; sk_cs: string; messages: number };
}

async function writeSerials(path: string, last_tid: string, more: object = {}): Promise<void> {
  await writeFile(path, JSON.stringify({ last_tid, sk_cs: SK_CS.fingerprint, messages: 0, ...more }), { mode: 0o600 });
}

describe('the file', () => {
  it('is of one controller: another is refused, and changes nothing', async () => {
    const path = await newPath();
    await openAt(path, WALL);
    const before = await readFile(path, 'utf8');
    const other = TidAllocator.open(path, { idC: 2, skCs: newSecret() }, WALL, new CapturedLog().log);
    await expect(other).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${path} is of controller 00000001, and the credential is of controller 00000002`,
      advice: expect.stringContaining('--state') as string,
    });
    expect(await readFile(path, 'utf8')).toBe(before);
  });

  it('of before, which does not say whose it is, is taken by the first that comes', async () => {
    const path = await newPath();
    await writeSerials(path, '7');
    await openAt(path, WALL);
    expect(await fileOf(path)).toMatchObject({ id_c: '00000001' });
  });
});

describe('TIDs', () => {
  it('begin with the microseconds since the epoch and count up by one', async () => {
    const first = BigInt(WALL) * 1000n;
    expect(take(await openAt(await newPath(), WALL), 3)).toEqual([first, first + 1n, first + 2n]);
  });

  it.each([
    ['goes on', 1],
    ['stands still', 0],
    ['was set back by a year', -31_536_000_000],
    ['says 1970', -WALL],
    ['was set ahead by a year and back', 31_536_000_000],
  ])('increase across restarts in which nothing was put away, where the clock %s', async (_, step) => {
    const path = await newPath();
    const given: bigint[] = [];
    for (let i = 0; i < 6; i++) {
      const allocator = await openAt(path, WALL + (i % 2 === 0 ? 0 : step));
      given.push(...take(allocator, 10 * i + 1));
    }
    expectIncreasing(given);
  });

  it('of one that was left behind are all smaller than those of the next', async () => {
    const path = await newPath();
    const before = await openAt(path, WALL);
    take(before, 10);
    const [first] = take(await openAt(path, WALL), 1);
    const left = drain(before);
    expect(left.length).toBeGreaterThan(100);
    expect(left.at(-1)! < first!).toBe(true);
  });

  it('increase when the file is lost, as long as the clock has not outrun itself', async () => {
    const path = await newPath();
    const before = take(await openAt(path, WALL), 50);
    await rm(path);
    // 50 TIDs are 50 microseconds of the clock.
    expectIncreasing([...before, ...take(await openAt(path, WALL + 1), 50)]);
  });

  it('increase from one process to the next when each is killed', async () => {
    const path = await newPath();
    const script = `
      import { writeSync } from 'node:fs';
      import { createLog } from ${JSON.stringify(new URL('../../runtime/dist/daemon/index.js', import.meta.url).href)};
      import { TidAllocator } from ${JSON.stringify(new URL('../dist/tid-allocator.js', import.meta.url).href)};
      import { Secret } from ${JSON.stringify(new URL('../../protocol/dist/index.js', import.meta.url).href)};
      const allocator = await TidAllocator.open(process.argv[1], { idC: 1, skCs: Secret.from(new Uint8Array(16)) }, ${WALL}, await createLog('test', 'error'));
      let last = allocator.next();
      for (;;) {
        for (let i = 0; i < 5000; i++) last = allocator.next() ?? last;
        writeSync(1, String(last) + '\\n');
        await new Promise(setImmediate);
      }`;
    const given: bigint[] = [];
    for (let round = 0; round < 3; round++) {
      const child = new Child(script, [path]);
      for (let lines = 0; lines < 20 * (round + 1); lines++) given.push(BigInt((await child.line()) ?? 0));
      await child.kill('SIGKILL');
    }
    // What was given last before the kill is not known; the file is: nothing above it was given.
    expectIncreasing(given.filter((tid, i) => tid !== given[i - 1]));
    expect(BigInt((await fileOf(path)).last_tid) >= given.at(-1)!).toBe(true);
  });

  it('are stored before they are given: taken faster, they run out for a moment, and go on without a gap', async () => {
    const path = await newPath();
    const allocator = await openAt(path, WALL);
    for (let i = 0; i < 12; i++) {
      const block = drain(allocator);
      expect(allocator.next()).toBeUndefined();
      expect(BigInt((await fileOf(path)).last_tid) >= block.at(-1)!).toBe(true);
      expect(await awaitTid(allocator)).toBe(block.at(-1)! + 1n);
    }
  });

  it('run out where the file cannot be written, the log says so, and they go on once it can', async () => {
    const [path, log] = [await newPath(), new CapturedLog()];
    const allocator = await openAt(path, WALL, SK_CS, log);
    await rename(dirname(path), `${dirname(path)}.away`);
    const block = drain(allocator);
    await log.until(({ level, msg }) => level === 'error' && msg === `cannot write ${path}: no such file or folder`);
    expect(allocator.next()).toBeUndefined();
    await mkdir(dirname(path), { mode: 0o700 });
    expect(await awaitTid(allocator)).toBe(block.at(-1)! + 1n);
    await rm(`${dirname(path)}.away`, { recursive: true });
  });

  it('that cannot be stored ahead are told of before they run out, until they can, whether or not one is asked for', async () => {
    const path = await newPath();
    const allocator = await openAt(path, WALL);
    expect(await allocator.probe()).toBeUndefined();
    await rename(dirname(path), `${dirname(path)}.away`);
    // Half of the block: the next one is to be stored.
    take(allocator, 513);
    expect(await allocator.probe()).toBe('no TIDs can be stored ahead; the log says why');
    expect(allocator.next()).toBeDefined();
    await rename(`${dirname(path)}.away`, dirname(path));
    await vi.waitFor(async () => expect(await allocator.probe()).toBeUndefined(), { timeout: 60_000, interval: 100 });
  });

  it('are not stored again for a second after that failed, however many ask, and at once for another SK_cs', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const [path, log] = [await newPath(), new CapturedLog()];
    const allocator = await openAt(path, WALL, SK_CS, log);
    await rm(dirname(path), { recursive: true });
    const askOften = async (): Promise<number> => {
      for (let i = 0; i < 1_500; i++) {
        allocator.next();
        await allocator.close();
      }
      return log.lines.length;
    };
    expect(await askOften()).toBe(1);
    vi.advanceTimersByTime(999);
    expect(await askOften()).toBe(1);
    vi.advanceTimersByTime(1);
    expect(await askOften()).toBe(2);
    allocator.rekey(newSecret());
    expect(await askOften()).toBe(3);
    await mkdir(dirname(path), { mode: 0o700 });
    expect(allocator.next()).toBeUndefined();
    vi.advanceTimersByTime(1_000);
    expect(await awaitTid(allocator)).toBe(BigInt(WALL) * 1000n + 1_024n);
  });

  it('end at the largest there is, and the controller does not start after that', async () => {
    const path = await newPath();
    await writeSerials(path, String(2n ** 64n - 3n));
    const allocator = await openAt(path, WALL);
    expect(drain(allocator)).toEqual([2n ** 64n - 2n, 2n ** 64n - 1n]);
    await expect(openAt(path, WALL)).rejects.toMatchObject({
      name: 'Failure',
      message: expect.stringContaining('the last TID is used') as string,
    });
  });
});

describe('what SK_cs has sealed', () => {
  it('is counted over restarts, four messages a TID, and from nothing under another SK_cs', async () => {
    const path = await newPath();
    await openAt(path, WALL);
    const first = 1_024;
    expect((await fileOf(path)).messages).toBe(4 * first);
    const allocator = await openAt(path, WALL);
    expect(await fileOf(path)).toMatchObject({ messages: 8 * first, sk_cs: SK_CS.fingerprint });
    const tids = drain(allocator);
    tids.push(await awaitTid(allocator), ...drain(allocator));
    await allocator.close();
    expect((await fileOf(path)).messages).toBeGreaterThanOrEqual(4 * (first + tids.length));
    const other = newSecret();
    await openAt(path, WALL, other);
    expect(await fileOf(path)).toMatchObject({ messages: 4 * first, sk_cs: other.fingerprint });
  });

  it('is counted from nothing also under one that came while TIDs were stored, and they count for it', async () => {
    const path = await newPath();
    await writeSerials(path, '1', { messages: 3_000_000_000 });
    const serials = await openAt(path, WALL);
    take(serials, 600);
    const other = newSecret();
    serials.rekey(other);
    await serials.close();
    expect((await fileOf(path)).sk_cs).toBe(SK_CS.fingerprint);
    const { messages } = serials;
    expect(drain(serials)).toHaveLength(messages / 4);
    await serials.close();
    expect(await fileOf(path)).toMatchObject({ sk_cs: other.fingerprint, messages: serials.messages });
    expect(drain(serials)).toHaveLength((serials.messages - messages) / 4);
  });

  it('is 2^32 messages at most, with a warning from half of that', async () => {
    const [path, log] = [await newPath(), new CapturedLog()];
    await openAt(path, WALL);
    const { messages: block } = await fileOf(path);
    await writeSerials(path, '1', { messages: 2 ** 31 - block });
    await openAt(path, WALL, SK_CS, log);
    expect(log.lines).toEqual([]);
    await openAt(path, WALL, SK_CS, log);
    expect(log.lines).toMatchObject([{ level: 'warn', messages: 2 ** 31 + block }]);

    await writeSerials(path, '1', { messages: 2 ** 32 - block });
    await openAt(path, WALL);
    await expect(openAt(path, WALL)).rejects.toMatchObject({
      name: 'Failure',
      message: `SK_cs [secret ${SK_CS.fingerprint}] has sealed all it may`,
      advice:
        'Give it another: latchkey-auth-server controller rotate 00000001 --data /var/lib/latchkey/auth-server --out controller-00000001.json',
    });
  });

  it('is not used up by restarts alone: a controller that is restarted every second for a week still starts', async () => {
    const path = await newPath();
    await openAt(path, WALL);
    const { messages } = await fileOf(path);
    expect(2 ** 32 / messages).toBeGreaterThan(7 * 86_400);
  });
});

describe('a file that is not what it should be', () => {
  it.each([
    ['no JSON', 'last_tid: 1', 'not JSON'],
    ['half a file', '{"last_tid":"1', 'not JSON'],
    ['nothing', '', 'not JSON'],
    ['a TID that is a number', '{"last_tid":1,"sk_cs":"abcd","messages":0}', 'last_tid: '],
    ['a TID below 0', '{"last_tid":"-1","sk_cs":"abcd","messages":0}', 'last_tid: expected a decimal number'],
    ['a TID past the largest', '{"last_tid":"99999999999999999999","sk_cs":"abcd","messages":0}', 'last_tid: '],
    ['no TID', '{"sk_cs":"abcd","messages":0}', 'last_tid: '],
    ['another fingerprint', '{"last_tid":"1","sk_cs":"abcde","messages":0}', 'sk_cs: expected a fingerprint'],
    ['a count below 0', '{"last_tid":"1","sk_cs":"abcd","messages":-1}', 'messages: '],
    ['one field too many', '{"last_tid":"1","sk_cs":"abcd","messages":0,"x":1}', 'unknown key x'],
  ])('(%s) is refused, and left as it is', async (_, text, message) => {
    const path = await newPath();
    await writeFile(path, text, { mode: 0o600 });
    const refused = await openAt(path, WALL).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure', message: expect.stringContaining(`${path}: ${message}`) as string });
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  it('is refused where others can read it', async () => {
    const path = await newPath();
    await writeSerials(path, '1');
    await chmod(path, 0o644);
    await expect(openAt(path, WALL)).rejects.toMatchObject({ name: 'UsageFailure' });
  });
});
