// Proves that strangers cannot fill the log, and that no key gets into it.

import { Secret } from '@latchkey/protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RateLimitedLog } from '../src/daemon/log.js';
import { CapturedLog, Child } from '@latchkey/test-support/fixtures';

const KEY = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';

describe('a bounded log', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => void vi.useRealTimers());

  it('writes 20 lines about a thing in 10 seconds, then says how many it left out', () => {
    const { log, lines } = new CapturedLog();
    const limited = new RateLimitedLog(log);
    for (let i = 0; i < 25; i++) limited.warn('link', { i }, 'refused');
    expect(lines.map(({ i }) => i)).toEqual(Array.from({ length: 20 }, (_, i) => i));

    vi.advanceTimersByTime(9_999);
    limited.warn('link', {}, 'refused');
    expect(lines).toHaveLength(20);

    vi.advanceTimersByTime(1);
    limited.warn('link', { i: 'next' }, 'refused');
    expect(lines.slice(20)).toMatchObject([
      { level: 'warn', topic: 'link', suppressed: 6, msg: 'lines like this were left out' },
      { level: 'warn', i: 'next', msg: 'refused' },
    ]);
  });

  it('says nothing of left-out lines where there were none', () => {
    const { log, lines } = new CapturedLog();
    const limited = new RateLimitedLog(log);
    limited.info('link', {}, 'one');
    vi.advanceTimersByTime(10_000);
    limited.info('link', {}, 'two');
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      ['info', 'one'],
      ['info', 'two'],
    ]);
  });

  it('counts each thing by itself', () => {
    const { log, lines } = new CapturedLog();
    const limited = new RateLimitedLog(log);
    for (let i = 0; i < 30; i++) {
      limited.warn('one', {}, 'about one');
      limited.info('two', {}, 'about two');
    }
    expect(lines.filter(({ msg }) => msg === 'about one')).toHaveLength(20);
    expect(lines.filter(({ msg }) => msg === 'about two')).toHaveLength(20);
  });

  it('remembers few things, however many there are', () => {
    const { log, lines } = new CapturedLog();
    const limited = new RateLimitedLog(log);
    for (let i = 0; i < 10_000; i++) limited.warn(`thing ${i}`, {}, 'refused');
    expect(lines).toHaveLength(10_000);
  });
});

describe('a key', () => {
  const key = Secret.fromHex(KEY);

  it.each<[string, (captured: CapturedLog) => void]>([
    ['a field', ({ log }) => log.info({ key }, 'oops')],
    ['a field of a field', ({ log }) => log.info({ node: { keys: [key] } }, 'oops')],
    ['the line itself', ({ log }) => log.info(key)],
    ['the message', ({ log }) => log.info(`key ${String(key)}`)],
    ['an argument of the message', ({ log }) => log.info('%s %o %j', key, key, { key })],
    ['an error', ({ log }) => log.error({ err: Object.assign(new Error('oops'), { key }) }, 'oops')],
    ['a child log', ({ log }) => log.child({ key }).info('oops')],
  ])('does not get into the log as %s', (_, write) => {
    const captured = new CapturedLog();
    let thrown = '';
    try {
      write(captured);
    } catch (error) {
      thrown = String(error);
    }
    const octets = Buffer.from(KEY, 'hex');
    const asList = [...octets.subarray(0, 4)].join(',');
    for (const trace of [KEY.slice(0, 8), octets.toString('base64').slice(0, 8), asList]) {
      expect(captured.text + thrown).not.toContain(trace);
    }
  });
});

describe('a log', () => {
  it('has what is fatal written before a process kills itself', async () => {
    const child = new Child(`
      import { createLog } from ${JSON.stringify(new URL('../dist/daemon/log.js', import.meta.url).href)};
      const log = await createLog('auth-server', 'info');
      log.info('before it');
      log.fatal('the end');
      process.kill(process.pid, 'SIGKILL');`);
    expect(JSON.parse((await child.line()) ?? '')).toMatchObject({ msg: 'before it' });
    expect(JSON.parse((await child.line()) ?? '')).toMatchObject({ level: 'fatal', msg: 'the end' });
  });

  it('is JSON, a line each, with the name, the level in letters and the time in UTC', async () => {
    const child = new Child(`
      import { createLog } from ${JSON.stringify(new URL('../dist/daemon/log.js', import.meta.url).href)};
      const log = await createLog('controller', 'info');
      log.debug('not this');
      log.warn({ node: '0000a1b2' }, 'this');`);
    const line = await child.line();
    expect(JSON.parse(line ?? '')).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      name: 'controller',
      node: '0000a1b2',
      msg: 'this',
    });
    expect(await child.line()).toBeUndefined();
  });

  it('writes what was logged shortly after each other together, and what is left before the process ends', async () => {
    const child = new Child(`
      import { readFileSync } from 'node:fs';
      import { createLog } from ${JSON.stringify(new URL('../dist/daemon/log.js', import.meta.url).href)};
      const written = () => Number(/^wchar: (\\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))[1]);
      const log = await createLog('controller', 'info');
      const before = written();
      log.info('one');
      log.info('two');
      const waited = written() === before;
      const look = () => {
        if (written() === before) return setTimeout(look, 1);
        log.info({ waited }, 'three');
        process.exit();
      };
      look();`);
    const lines = [await child.line(), await child.line(), await child.line()].map((line) => JSON.parse(line ?? '{}') as object);
    expect(lines).toMatchObject([{ msg: 'one' }, { msg: 'two' }, { msg: 'three', waited: true }]);
  });

  it('keeps no daemon waiting for a disk that its output may go to', async () => {
    const child = new Child(`
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      let syncs = 0;
      fs.fsyncSync = fs.fdatasyncSync = () => void (syncs += 1);
      syncBuiltinESMExports();
      const { createLog } = await import(${JSON.stringify(new URL('../dist/daemon/log.js', import.meta.url).href)});
      const log = await createLog('controller', 'info');
      log.info({ long: 'x'.repeat(20_000) }, 'one');
      log.info('two');
      setTimeout(() => log.info({ syncs }, 'three'), 50);`);
    const lines = [await child.line(), await child.line(), await child.line()].map((line) => JSON.parse(line ?? '{}') as object);
    expect(lines).toMatchObject([{ msg: 'one' }, { msg: 'two' }, { msg: 'three', syncs: 0 }]);
  });

  it('writes each line at once where each message is told of', async () => {
    const child = new Child(`
      import { createLog } from ${JSON.stringify(new URL('../dist/daemon/log.js', import.meta.url).href)};
      const log = await createLog('controller', 'debug');
      log.debug('sent');
      process.kill(process.pid, 'SIGKILL');`);
    expect(JSON.parse((await child.line()) ?? '{}')).toMatchObject({ msg: 'sent' });
  });
});
