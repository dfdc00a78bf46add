// The demo shows how three nodes join, and then a larger plant in the console. It ends well, and
// leaves nothing behind. Each command of the five steps is a process of its own here.

import { existsSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { demo } from '../src/demo.js';
import { demoConsole } from '../src/demo-console.js';
import { TestNetwork } from '../src/network.js';
import { openConsole } from './console-visitor.js';

it('plays the five steps, shows the same new key on node and server, and serves the console', async () => {
  vi.stubEnv('LATCHKEY_TESTBED_WORKER', undefined);
  const network = await TestNetwork.create();
  const lines: string[] = [];
  const print = (text = ''): void => void lines.push(text);
  try {
    const { isSame, server } = await demo(network, print);
    expect(isSame).toBe(true);
    expect(lines.at(-1)).toContain('Kim, with half of an initial key, knows none even then');

    vi.unstubAllEnvs();
    const { link, mixedUp } = await demoConsole(network, server, print);
    const ask = await openConsole(link);
    expect(await ask('/v1/summary')).toMatchObject({
      nodes: { total: 3 + 6 + 12, never_joined: 1 + 12 },
      controllers: { total: 3 },
    });
    await expect.poll(() => ask(`/v1/diagnoses/${mixedUp}`)).toMatchObject({ cause: 'proof-missing' });
    network.dropLogs();
    expect(network.transcripts().trim()).toBe('');
    await network.stop();
  } finally {
    await network.remove();
  }
  const transcript = lines.join('\n');
  for (const step of ['1.', '2.', '3.', '4.', '5.', '6.']) expect(transcript).toMatch(new RegExp(`^${step} `, 'm'));
  for (const size of ['M1.* 21', 'M2.* 79', 'M3.* 42', 'M4.* 53', 'M5.* 33', 'M6.* 13', 'M7.* 121', 'M8.* 30']) {
    expect(transcript.match(new RegExp(`${size} octets`, 'g'))).toHaveLength(3);
  }
  expect(transcript).toMatch(/^ {3}node .* installer's half of its initial key \[secret/m);
  expect(transcript).not.toMatch(/[0-9a-f]{32}/);
  expect(existsSync(network.folder)).toBe(false);
});
