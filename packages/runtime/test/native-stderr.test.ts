// Proves that what native code prints to standard error does not get there, and that the program's
// own words do.

import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

const dist = (name: string): string => JSON.stringify(new URL(`../dist/${name}.js`, import.meta.url).href);

/** What a program prints to standard error that has `print`, which prints as native code does. */
function standardErrorOf(script: string): string {
  const program = `
    import { dropNativeWords, holdNativeWords } from ${dist('daemon/native-stderr')};
    import { loadLibc } from ${dist('files/libc')};
    const { library, pointer } = loadLibc();
    const print = (text) => library.func('int fputs(const char *, void *)')(text, pointer('stderr'));
    ${script}`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stderr;
}

it('native words are held back, also as the process exits', () => {
  expect(standardErrorOf(`print('before\\n'); holdNativeWords(); print('after\\n');`)).toBe('before\n');
  expect(standardErrorOf(`holdNativeWords(); print('one\\n'); dropNativeWords(); print('two\\n'); process.exit(0);`)).toBe('');
});

it('words that fill the buffer between two drops are not lost for good: they come', () => {
  const script = `holdNativeWords(); for (let i = 0; i < 10_000; i++) print('0123456789\\n');`;
  expect(standardErrorOf(script)).toContain('0123456789\n0123456789\n');
  const dropped = `holdNativeWords(); for (let i = 0; i < 10_000; i++) { print('0123456789\\n'); dropNativeWords(); }`;
  expect(standardErrorOf(dropped)).toBe('');
});

it('the words of the program and of Node.js are not held back', () => {
  const script = `
    holdNativeWords();
    print('of a library\\n');
    process.stderr.write('of the program\\n');
    process.emitWarning('of Node.js');
    setImmediate(() => dropNativeWords());`;
  expect(standardErrorOf(script)).toMatch(/^of the program\n\(node:\d+\) Warning: of Node\.js\n[^]*$/);
});
