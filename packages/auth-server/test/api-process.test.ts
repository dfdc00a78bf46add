import { readFileSync } from 'node:fs';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { expect, it, onTestFinished, vi } from 'vitest';
import { ApiProcess } from '../src/api-process.js';

/** Timers do not run by themselves here. */
async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + 60_000;
  while (!isSo() && performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
  expect(isSo()).toBe(true);
}

it('an API that does not stay up is started again after 1 s, then twice as long each time, up to a minute', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const log = new CapturedLog();
  const api = new ApiProcess({ args: ['-e', 'process.exit(3)'], log: log.log });
  onTestFinished(() => api.stop());
  const delays: unknown[] = [];
  for (let ended = 1; ended <= 8; ended++) {
    await until(() => log.withMessage('the API has ended').length === ended);
    const last = log.withMessage('the API has ended').at(-1);
    expect(last).toMatchObject({ code: 3, signal: null });
    delays.push(last?.['retryInSeconds']);
    // Not a moment sooner.
    await vi.advanceTimersByTimeAsync(1_000 * Number(last?.['retryInSeconds']) - 1);
    expect(log.withMessage('the API is started')).toHaveLength(ended);
    await vi.advanceTimersByTimeAsync(1);
    expect(log.withMessage('the API is started')).toHaveLength(ended + 1);
  }
  expect(delays).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
});

it('an API that does not end after SIGTERM is killed, and none is started after that', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const log = new CapturedLog();
  // Stops itself: a stopped process gets no signal but SIGKILL and SIGCONT.
  const api = new ApiProcess({ args: ['-e', 'process.kill(process.pid, "SIGSTOP")'], log: log.log });
  const pid = Number(log.withMessage('the API is started')[0]?.['pid']);
  await until(() => /^\d+ \(.*\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')));
  const stopped = api.stop();
  await vi.advanceTimersByTimeAsync(8_000);
  await stopped;
  expect(log.withMessage('the API has ended')).toEqual([]);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(log.withMessage('the API is started')).toHaveLength(1);
});
