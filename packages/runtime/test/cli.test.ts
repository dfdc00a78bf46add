// Proves how a command ends: its exit code, what it says on standard error, and that no key given
// by mistake is repeated there.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished } from 'vitest';

const dist = (name: string): string => JSON.stringify(new URL(`../dist/${name}.js`, import.meta.url).href);
const KEY = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Arguments of Node.js that run a command with options, an argument and the given action. */
function scriptOf(action: string, ...args: readonly string[]): string[] {
  const script = `
    import { idArgument, integerArgument, listenOption, logLevelOption, main, peerArgument, program } from ${dist('cli/cli')};
    import { repeatInAdvice } from ${dist('cli/advice')};
    import { Option } from ${JSON.stringify(import.meta.resolve('commander'))};
    import { Failure, UsageFailure } from ${dist('failure')};
    const command = program('latchkey-test', 'a test', new URL('../../package.json', ${dist('cli/cli')}))
      .argument('[id]', 'an ID', idArgument)
      .argument('[file]', 'a file')
      .option('--peer <host:port>', 'a peer', peerArgument)
      .option('--listen <host:port>', 'an address', listenOption)
      .option('--count <n>', 'a number', integerArgument(1, 5))
      .option('--out <file.html>', 'a file that is made')
      .addOption(logLevelOption())
      .addOption(repeatInAdvice(new Option('--data <dir>', 'a folder').env('LATCHKEY_TEST_DATA')))
      .action(async (id, file, options) => { ${action} });
    await main(command);`;
  return ['--input-type=module', '--eval', script, '--', ...args];
}

/** Runs it in a process of its own. */
async function run(action: string, ...args: readonly string[]): Promise<Ended> {
  return runIn({}, action, ...args);
}

/** The same with more variables in its environment. */
async function runIn(environment: NodeJS.ProcessEnv, action: string, ...args: readonly string[]): Promise<Ended> {
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, scriptOf(action, ...args), { stdio: ['ignore', 'pipe', 'pipe'], env });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: child.exitCode, stdout, stderr };
}

describe('a command', () => {
  it('that does what it was asked ends with code 0', async () => {
    const args = ['0000a1b2', '--peer', '[::1]:5683', '--listen', '0.0.0.0:0', '--listen', '[::]:1', '--count', '5'];
    const { code, stdout, stderr } = await run('console.log(JSON.stringify({ id, ...options }))', ...args);
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toEqual({
      id: 0xa1b2,
      peer: { host: '::1', port: 5683 },
      listen: [
        { host: '0.0.0.0', port: 0 },
        { host: '::', port: 1 },
      ],
      count: 5,
    });
  });

  it('opens no debugger when it is asked for one: whoever attached could read all keys', async () => {
    const { code, stdout, stderr } = await run(`
      const { url } = await import('node:inspector');
      process.kill(process.pid, 'SIGUSR1');
      await new Promise((resolve) => setTimeout(resolve, 500));
      console.log(url() ?? 'none');`);
    expect([code, stdout, stderr]).toEqual([0, 'none\n', '']);
  });

  it.each([
    ['an ID of 7 digits', ['000a1b2'], '8 hex digits'],
    ['a peer on port 0', ['--peer', '192.0.2.1:0'], 'expected HOST:PORT'],
    ['a peer at no address', ['--peer', '0.0.0.0:5683'], '0.0.0.0 and [::] are for listening alone'],
    ['a peer with a comma in its name', ['--peer', 'x,y:1'], 'expected HOST:PORT'],
    ['a peer without a port', ['--peer', '192.0.2.1'], 'expected HOST:PORT'],
    ['a number too large', ['--count', '6'], 'a whole number from 1 to 5'],
    ['no number', ['--count', '0x3'], 'a whole number from 1 to 5'],
    ['an unknown option', ['--nope'], "unknown option '--nope'"],
    ['two values for one option', ['--count', '1', '--count=2'], "option '--count <n>' is given twice"],
    ['two values that are taken from a few', ['--log-level', 'info', '--log-level', 'warn'], '--log-level <level>'],
  ])('given %s ends with code 2, and says so and where help is', async (_, args, message) => {
    const { code, stdout, stderr } = await run('', ...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^latchkey-test: /);
    expect(stderr).toContain(message);
    expect(stderr).toContain('--help');
  });

  it.each([
    [
      'a failure',
      `throw new Failure('it cannot be done', { advice: 'Do that.' })`,
      1,
      'latchkey-test: it cannot be done\nDo that.\n',
    ],
    ['wrong usage', `throw new UsageFailure('not like this')`, 2, 'latchkey-test: not like this\n'],
  ])('that meets %s ends with its code, and says why and what to do', async (_, action, code, stderr) => {
    expect(await run(action)).toEqual({ code, stdout: '', stderr });
  });

  const ADVICE = `throw new Failure('no', {
    advice: 'Do that:',
    run: [['latchkey-test', 'do', "a b's"], ['age', '-d', 'x', '|', 'latchkey-test', 'import', '-'], ['latchkey-other', 'y']],
  })`;

  it('names commands to run next as it was called itself: quoted for a shell, with the options that say where', async () => {
    expect((await run(ADVICE, '--data', './it is here', '--count', '2')).stderr).toBe(
      `latchkey-test: no
Do that:
  latchkey-test do 'a b'\\''s' --data './it is here'
  age -d x | latchkey-test import - --data './it is here'
  latchkey-other y
`,
    );
    // What the environment says it says again.
    const { stderr } = await runIn({ LATCHKEY_TEST_DATA: '/srv/it' }, ADVICE);
    expect(stderr.split('\n')[2]).toBe(`  latchkey-test do 'a b'\\''s'`);
    const help = `throw new Failure('no', { run: [['latchkey-test', 'do', '--help']] })`;
    expect((await run(help, '--data', '/here')).stderr).toBe('latchkey-test: no\n  latchkey-test do --help\n');
    const given = `throw new Failure('no', { run: [['latchkey-test', 'do', '--data', '/there']] })`;
    expect((await run(given, '--data', '/here')).stderr).toBe('latchkey-test: no\n  latchkey-test do --data /there\n');
  });

  it('takes a variable that is set but empty for one that is not set, and no empty path', async () => {
    const tell = `process.stdout.write(String(options.data) + ('LATCHKEY_TEST_DATA' in process.env))`;
    expect(await runIn({ LATCHKEY_TEST_DATA: '' }, tell)).toEqual({ code: 0, stdout: 'undefinedfalse', stderr: '' });
    expect(await runIn({ LATCHKEY_TEST_DATA: '/x' }, tell)).toMatchObject({ stdout: '/xtrue' });
    const refused = await run(tell, '--data', '');
    expect([refused.code, refused.stdout]).toEqual([2, '']);
    expect(refused.stderr).toContain("option '--data <dir>' is empty: expected the path of a folder");
    const file = await run(tell, '0000a1b2', '');
    expect([file.code, file.stdout]).toEqual([2, '']);
    expect(file.stderr).toContain("argument '<file>' is empty: expected the path of a file");
  });

  it('that meets a mistake of its own ends with code 1, in words and without a stack', async () => {
    const { code, stderr } = await run(`throw new TypeError('oops')`);
    expect([code, stderr]).toEqual([1, 'latchkey-test: internal error: oops\nPlease report it with the command you ran.\n']);
  });

  it.each([
    ['as the ID', [KEY], ''],
    ['as an option’s value', ['--peer', KEY], ''],
    ['as an option', [`--${KEY}`], ''],
    ['as one argument too many', ['0000a1b2', 'file', KEY], ''],
    ['and repeated by a failure', [], `throw new Failure('cannot read ${KEY}')`],
    ['and repeated by a mistake', [], `throw new Error('cannot read ${KEY.toUpperCase()}')`],
  ])('given a key %s does not repeat it', async (_, args, action) => {
    const { code, stderr } = await run(action, ...args);
    expect(code).not.toBe(0);
    expect(stderr.toLowerCase()).not.toContain(KEY.slice(0, 8));
  });

  it('whose answer cannot be written does not say that nothing was done', () => {
    const file = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(file));
    const { status, stderr } = spawnSync(process.execPath, scriptOf(`process.stdout.write('done')`), {
      stdio: ['ignore', file, 'pipe'],
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([
      1,
      'latchkey-test: cannot write to standard output: no space left on the device\n' +
        'What was to be done may be done all the same: look before you run it again.\n',
    ]);
  });

  it.each(['--help', '--version'])('whose %s cannot be written does not end with code 0', (option) => {
    const file = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(file));
    const { status, stderr } = spawnSync(process.execPath, scriptOf('', option), {
      stdio: ['ignore', file, 'pipe'],
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining('latchkey-test: cannot write to standard output: no space left on the device\n'),
    ]);
  });

  it('makes no file that is called -, nor one without a name', async () => {
    for (const [path, fault] of [
      ['-', 'is -: expected the path of a file, not standard output'],
      ['', 'is empty: expected the path of a file'],
    ] as const) {
      const { code, stderr } = await run('', '--out', path);
      expect([code, stderr]).toEqual([2, expect.stringContaining(`option '--out <file.html>' ${fault}`)]);
    }
    expect((await run('', '--out', './-')).code).toBe(0);
  });

  it('says what an identity looks like', async () => {
    expect((await run(`throw new Failure('expected AGE-SECRET-KEY-1... as age-keygen writes it')`)).stderr).toContain(
      'expected AGE-SECRET-KEY-1... as age-keygen writes it',
    );
  });

  it.each(['AGE-SECRET-KEY-1', 'age-secret-key-1', 'AGE-SECRET-KEY-PQ-1'])(
    'given an identity, %s..., does not repeat it',
    async (prefix) => {
      const identity = `${prefix}QQPQ9T0EZ6XJ7WKD`;
      for (const [args, action] of [
        [[identity], ''],
        [['--peer', identity], ''],
        [[], `throw new Failure('cannot read ${identity}')`],
      ] as const) {
        const { code, stderr } = await run(action, ...args);
        expect(code).not.toBe(0);
        expect(stderr).not.toContain('QQPQ9');
      }
    },
  );

  it('makes files for its user alone, whatever the umask was', async () => {
    expect(await run('process.stdout.write((process.umask() & 0o777).toString(8))')).toMatchObject({ code: 0, stdout: '77' });
  });
});
