// The demo tells of three nodes, ends well, and leaves nothing behind. Each command is a process of
// its own here.

import { existsSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { demo } from '../src/demo.js';
import { TestNetwork } from '../src/network.js';

it('plays the five steps and shows the same new key on node and server', async () => {
  vi.stubEnv('LATCHKEY_TESTBED_WORKER', undefined);
  const network = await TestNetwork.create();
  const lines: string[] = [];
  try {
    expect(await demo(network, (text = '') => lines.push(text))).toBe(true);
  } finally {
    await network.remove();
  }
  const transcript = lines.join('\n');
  for (const step of ['1.', '2.', '3.', '4.', '5.']) expect(transcript).toMatch(new RegExp(`^${step} `, 'm'));
  for (const size of ['M1.* 21', 'M2.* 79', 'M3.* 42', 'M4.* 53', 'M5.* 33', 'M6.* 13', 'M7.* 121', 'M8.* 30']) {
    expect(transcript.match(new RegExp(`${size} octets`, 'g'))).toHaveLength(3);
  }
  expect(transcript).toMatch(/^ {3}node .* installer's half of its initial key \[secret/m);
  expect(lines.at(-1)).toContain('Kim, with half of an initial key, knows none even then');
  expect(transcript).not.toMatch(/[0-9a-f]{32}/);
  expect(existsSync(network.folder)).toBe(false);
});
