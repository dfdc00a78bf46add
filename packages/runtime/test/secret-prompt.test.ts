// Proves on a real terminal that a secret which is typed there is taken at the end of its line, and
// not shown.

import { describe, expect, it } from 'vitest';
import { HAS_SCRIPT, Terminal } from '@latchkey/test-support/terminal';

const SECRET = 'LATCHKEY:1/5b2e9d0c4f61a738';
const PROMPT = 'Scan the label: ';
const CODE = `
  import { promptSecret } from ${JSON.stringify(new URL('../dist/cli/secret-prompt.js', import.meta.url).href)};
  const say = (text) => process.stdout.write(text + '\\n');
  promptSecret(${JSON.stringify(PROMPT.trim())}, 'a label').then(
    (line) => say(line === ${JSON.stringify(SECRET)} ? 'taken' : 'taken wrongly'),
    (error) => say(error.name + ': ' + error.message));`;

describe.skipIf(!HAS_SCRIPT)('a line that is typed on a terminal (needs script, of util-linux)', () => {
  it('is taken with the Enter that ends it, and not shown', async () => {
    const terminal = new Terminal(['--input-type=module', '--eval', CODE]);
    await terminal.shows(PROMPT);
    terminal.type(`${SECRET}\r`);
    expect(await terminal.end()).toBe(`${PROMPT}\ntaken\n`);
  });

  it.each([
    ['Ctrl-C', '\u0003', 'Failure: interrupted'],
    ['Ctrl-D', '\u0004', 'UsageFailure: expected a label, and nothing was typed'],
  ])('may be refused with %s', async (_, key, message) => {
    const terminal = new Terminal(['--input-type=module', '--eval', CODE]);
    await terminal.shows(PROMPT);
    terminal.type(key);
    expect(await terminal.end()).toBe(`${PROMPT}\n${message}\n`);
  });
});
