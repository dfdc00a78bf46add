// Proves that the hook is told of the node and its folder and of no key, and that its failure is
// told.

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { type Hook, runHook } from '../src/hook.js';
import { createNodeFile } from '../src/create-node-file.js';
import { newRecord } from './fixtures.js';

async function run(command: string): Promise<{ done: boolean; folder: string; log: CapturedLog }> {
  const [folder, log] = [await tempFolder(), new CapturedLog()];
  return { done: await runHook(hook(command, folder, log)), folder, log };
}

function hook(command: string, stateFolder: string, log: CapturedLog, signal = new AbortController().signal): Hook {
  return { command, reason: 'new-key', idI: 0xa1b2, stateFolder, log: log.log, signal };
}

describe('on_key_change', () => {
  it('has ID and state folder in its environment, and no key there or among its arguments', async () => {
    const [folder, log] = [await tempFolder(), new CapturedLog()];
    const record = newRecord();
    await createNodeFile(folder, record, false);
    const command = 'env > "$LATCHKEY_STATE/seen"; tr "\\0" "\\n" < /proc/$$/cmdline >> "$LATCHKEY_STATE/seen"';
    expect(await runHook(hook(command, folder, log))).toBe(true);
    const seen = await readFile(join(folder, 'seen'), 'utf8');
    expect(seen.split('\n')).toContain('LATCHKEY_ID=0000a1b2');
    expect(seen.split('\n')).toContain(`LATCHKEY_STATE=${folder}`);
    expect(seen.split('\n')).toContain('LATCHKEY_REASON=new-key');
    expect(seen.split('\n')).toContain(`PATH=${process.env['PATH']}`);
    expect(seen).not.toContain(record.state.confirmed.toHex().slice(0, 8));
    expect(log.lines).toEqual([]);
  });

  it('is a line of the shell', async () => {
    const { done, folder } = await run('echo one > "$LATCHKEY_STATE/a" && echo two >> "$LATCHKEY_STATE/a"');
    expect(done).toBe(true);
    expect(await readFile(join(folder, 'a'), 'utf8')).toBe('one\ntwo\n');
  });

  it('that the system cannot start is a hook that failed, whether it says so by an event or throws', async () => {
    // More than an argument may have (MAX_ARG_STRLEN): Node.js throws.
    const { done, log } = await run(`true ${'#'.repeat(200_000)}`);
    expect(done).toBe(false);
    expect(log.lines).toMatchObject([{ level: 'error', error: 'spawn E2BIG', msg: 'on_key_change could not be started' }]);
  });

  it('has nothing to read', async () => {
    expect((await run('test -z "$(cat)"')).done).toBe(true);
  });

  it.each([
    ['one that heeds SIGTERM', 'touch "$LATCHKEY_STATE/on"; sleep 600 & echo $! > "$LATCHKEY_STATE/pid"; wait', 'SIGTERM'],
    [
      'one that does not',
      'trap "" TERM; touch "$LATCHKEY_STATE/on"; sh -c "echo \\$\\$ > $LATCHKEY_STATE/pid; while :; do sleep 600; done"',
      'SIGKILL',
    ],
  ])('does not hold up an agent that stops: %s', async (_, command, by) => {
    const [folder, log, stopping] = [await tempFolder(), new CapturedLog(), new AbortController()];
    const watch = watchFor(folder, 'pid');
    const running = runHook(hook(command, folder, log, stopping.signal));
    const pid = Number(await watch);
    stopping.abort();
    expect(await running).toBe(false);
    expect(log.lines).toMatchObject([{ level: 'error', code: null, signal: by }]);
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 60_000 });
  });

  it.each([
    ['ends with another code than 0', 'exit 3', { code: 3, signal: null }],
    ['is not to be found', '/no/such/command 2> /dev/null', { code: 127, signal: null }],
    ['is killed', 'kill -9 $$', { code: null, signal: 'SIGKILL' }],
  ])('that %s has failed, and the log says how', async (_, command, how) => {
    const { done, log } = await run(command);
    expect(done).toBe(false);
    expect(log.lines).toMatchObject([
      { level: 'error', ...how, msg: 'on_key_change failed; it runs again with the next start or key' },
    ]);
  });
});

/** What is in the file once it is there with a line in it. */
function watchFor(folder: string, name: string): Promise<string> {
  return vi.waitFor(
    async () => {
      const text = await readFile(join(folder, name), 'utf8');
      expect(text).toMatch(/\n$/);
      return text;
    },
    { timeout: 60_000 },
  );
}

/** Not a zombie either: its parent may be gone, and nobody may have asked how it ended. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
