// Proves that what a daemon does at intervals beside its work neither ends it nor floods its log
// when it fails.

import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { Failure } from '../src/failure.js';
import { repeat } from '../src/daemon/housekeeping.js';
import { CapturedLog } from '@latchkey/test-support/fixtures';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
});

/** Goes on by so many seconds, one at a time. */
async function pass(seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) await vi.advanceTimersByTimeAsync(1_000);
}

describe('a chore', () => {
  it('that fails, in whatever way, is told of once a minute, and when it works again', async () => {
    for (const fail of [
      () => {
        throw new TypeError('no file descriptor');
      },
      () => Promise.reject(new TypeError('no file descriptor')),
    ]) {
      const log = new CapturedLog();
      let works = false;
      const stop = repeat({ what: 'to look', everyMs: 1_000, log: log.log, action: () => (works ? undefined : fail()) });
      await pass(61);
      expect(log.lines).toMatchObject(
        Array.from({ length: 2 }, () => ({ level: 'error', msg: 'failed to look: no file descriptor' })),
      );
      works = true;
      await pass(10);
      expect(log.lines.slice(2)).toMatchObject([{ level: 'info', msg: 'no longer fails to look' }]);
      stop();
      expect(vi.getTimerCount()).toBe(0);
    }
  });

  it('that fails in another way is told of at once, with advice if there is any', async () => {
    const log = new CapturedLog();
    let times = 0;
    const action = (): void => {
      times += 1;
      throw times === 1 ? new Error('one') : new Failure('the disk is full', { advice: 'Free some space.' });
    };
    onTestFinished(repeat({ what: 'to look', everyMs: 1_000, log: log.log, action }));
    await pass(5);
    expect(log.lines).toMatchObject([{ msg: 'failed to look: one' }, { msg: 'the disk is full', advice: 'Free some space.' }]);
  });

  it('that hangs is not begun again beside itself', async () => {
    let begun = 0;
    let end = (): void => undefined;
    const action = (): Promise<void> => {
      begun += 1;
      return new Promise((resolve) => (end = resolve));
    };
    onTestFinished(repeat({ what: 'to look', everyMs: 1_000, log: new CapturedLog().log, action }));
    await pass(10);
    expect(begun).toBe(1);
    end();
    await pass(1);
    expect(begun).toBe(2);
  });
});
