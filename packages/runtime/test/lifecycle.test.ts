// Proves with real processes how a daemon ends: asked to, unable to start, in a hurry, or by a
// mistake.

import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { Child } from '@latchkey/test-support/fixtures';

const dist = (name: string): string => JSON.stringify(new URL(`../dist/${name}.js`, import.meta.url).href);

/** A daemon whose `start` is the given text; something keeps its process busy, as sockets would. */
function daemon(start: string): Child {
  return new Child(`
    import { runDaemon } from ${dist('daemon/lifecycle')};
    import { createLog } from ${dist('daemon/log')};
    import { UsageFailure } from ${dist('failure')};
    const log = await createLog('daemon', 'info');
    await runDaemon(log, async () => {
      setInterval(() => undefined, 1000);
      ${start}
    });`);
}

async function nextMessage(child: Child): Promise<Record<string, unknown>> {
  const line = await child.line();
  return line === undefined ? {} : (JSON.parse(line) as Record<string, unknown>);
}

describe('a daemon', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('that gets %s stops, says so, and ends with code 0', async (signal) => {
    const child = daemon(`log.info('up'); return { stop: async () => log.info('finishing') };`);
    expect(await nextMessage(child)).toMatchObject({ msg: 'up' });
    const ended = child.kill(signal);
    expect(await nextMessage(child)).toMatchObject({ msg: 'stopping', signal });
    expect(await nextMessage(child)).toMatchObject({ msg: 'finishing' });
    expect(await nextMessage(child)).toMatchObject({ msg: 'stopped' });
    expect(await ended).toEqual({ code: 0, signal: null });
  });

  it('that gets SIGHUP before it is up reads anew once it is', async () => {
    const child = daemon(`
      log.info('starting');
      await new Promise((resolve) => process.on('SIGUSR2', resolve));
      log.info('up');
      return { stop: async () => undefined, reload: async () => log.info('read anew') };`);
    expect(await nextMessage(child)).toMatchObject({ msg: 'starting' });
    void child.kill('SIGHUP');
    void child.kill('SIGUSR2');
    expect(await nextMessage(child)).toMatchObject({ msg: 'up' });
    expect(await nextMessage(child)).toMatchObject({ msg: 'read anew' });
  });

  it('that has nothing to reload says so on SIGHUP', async () => {
    const child = daemon(`log.info('up'); return { stop: async () => undefined };`);
    expect(await nextMessage(child)).toMatchObject({ msg: 'up' });
    void child.kill('SIGHUP');
    expect(await nextMessage(child)).toMatchObject({ level: 'info', msg: 'nothing to reload: nothing has changed' });
  });

  it('that is asked to stop while its start does not come to an end is ended 10 s later', async () => {
    const child = daemon(`log.info('starting'); await new Promise(() => undefined);`);
    expect(await nextMessage(child)).toMatchObject({ msg: 'starting' });
    const ended = child.kill('SIGTERM');
    expect(await nextMessage(child)).toMatchObject({ msg: 'stopping' });
    expect(await nextMessage(child)).toMatchObject({ msg: 'stopped with work still in flight' });
    expect(await ended).toEqual({ code: 1, signal: null });
  });

  it('that cannot start says why and what to do on standard error, and ends with the code of the failure, whatever it left open', () => {
    const script = `
      import { main, program } from ${dist('cli/cli')};
      import { runDaemon } from ${dist('daemon/lifecycle')};
      import { createLog } from ${dist('daemon/log')};
      import { UsageFailure } from ${dist('failure')};
      const start = async () => {
        setInterval(() => undefined, 1000);
        throw new UsageFailure('the port is taken', { advice: 'Take another.' });
      };
      const about = new URL('../../package.json', ${dist('cli/cli')});
      await main(program('latchkey-test', 'a test', about).action(async () => runDaemon(await createLog('daemon', 'info'), start)));`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
    });
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: '',
      stderr: 'latchkey-test: the port is taken\nTake another.\n',
    });
  });

  it('that takes its time to stop ends at once with the second signal', async () => {
    const child = daemon(`log.info('up'); return { stop: () => new Promise(() => undefined) };`);
    expect(await nextMessage(child)).toMatchObject({ msg: 'up' });
    const ended = child.kill('SIGTERM');
    expect(await nextMessage(child)).toMatchObject({ msg: 'stopping' });
    void child.kill('SIGTERM');
    expect(await ended).toEqual({ code: 1, signal: null });
  });

  it.each([
    ['an exception', `setImmediate(() => { throw new Error('oops'); });`],
    ['a rejection', `void Promise.reject(new Error('oops'));`],
  ])('that meets %s nobody caught logs it and ends with code 1', async (_, mistake) => {
    const child = daemon(`${mistake} return { stop: async () => undefined };`);
    expect(await nextMessage(child)).toMatchObject({ level: 'fatal', error: 'oops', msg: 'internal error; exiting' });
    expect(await child.exited).toEqual({ code: 1, signal: null });
  });
});
