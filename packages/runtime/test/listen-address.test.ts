// Proves that a wrong place for health and metrics is refused by the name of whatever gave it: the
// option or the environment.

import { Command } from 'commander';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { formatListenAddress, httpOption, type ListenAddress } from '../src/net/listen-address.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

function parse(...args: readonly string[]): ListenAddress | undefined {
  const command = new Command('x').exitOverride().configureOutput({ writeErr: () => undefined });
  return command.addOption(httpOption('where')).parse(args, { from: 'user' }).opts<{ http?: ListenAddress }>().http;
}

describe('where health and metrics are served', () => {
  it('is what the option says, before what the environment says', () => {
    vi.stubEnv('LATCHKEY_HTTP', '127.0.0.1:2');
    expect(formatListenAddress(parse('--http', '127.0.0.1:1')!)).toBe('127.0.0.1:1');
    expect(formatListenAddress(parse()!)).toBe('127.0.0.1:2');
    vi.stubEnv('LATCHKEY_HTTP', '');
    expect(formatListenAddress(parse('--http', '127.0.0.1:1')!)).toBe('127.0.0.1:1');
  });

  it.each([
    ['', /LATCHKEY_HTTP.*expected HOST:PORT of this machine/],
    ['192.0.2.1:1', /LATCHKEY_HTTP.*where others could reach them\. .*for this machine alone/],
  ])('is refused by the name of the variable: %j', (text, message) => {
    vi.stubEnv('LATCHKEY_HTTP', text);
    expect(() => parse()).toThrow(message);
  });

  it.each(['', 'unix:x', '0.0.0.0:1', `unix:/${'x'.repeat(107)}`, 'unix:/x\0y'])(
    'is refused by the name of the option: %j',
    (text) => {
      expect(() => parse('--http', text)).toThrow(/--http/);
    },
  );
});
