// Proves that the quick way to `key` takes what the program would take, and leaves the rest to it.

import { expect, it } from 'vitest';
import { parseKeyArguments } from '../src/key-arguments.js';

const PLAIN = {
  state: './node',
  label: ['mqtt-psk'],
  octets: 16,
  format: 'hex',
  kid: false,
  previous: false,
  all: false,
  allowExpired: false,
  positionals: [],
};
const GIVEN = ['--state', './node', '--label', 'mqtt-psk'];

it.each<[readonly string[], object]>([
  [GIVEN, {}],
  [['--state=./node', '--label=mqtt-psk'], {}],
  [[...GIVEN, '--label', 'tls-psk', '--label', 'mqtt-psk'], { label: ['mqtt-psk', 'tls-psk'] }],
  [[...GIVEN, '--octets', '255', '--format', 'json'], { octets: 255, format: 'json' }],
  [[...GIVEN, '--kid', '--allow-expired'], { kid: true, allowExpired: true }],
  [[...GIVEN, '--previous'], { previous: true }],
  [[...GIVEN, '--all'], { all: true, kid: true }],
  [['0000a1b2', ...GIVEN], { positionals: ['0000a1b2'] }],
])('%j is read', (words, more) => {
  expect(parseKeyArguments(words)).toEqual({ ...PLAIN, ...more });
});

it.each<[readonly string[]]>([
  [['--state', './node']],
  [['--state', '', '--label', 'a']],
  [[...GIVEN, '--label', '']],
  [[...GIVEN, '--label', 'latchkey key id']],
  [[...GIVEN, ...Array.from({ length: 16 }, (_, i) => ['--label', `label-${i}`]).flat()]],
  [[...GIVEN, '--octets', '0']],
  [[...GIVEN, '--octets', '256']],
  [[...GIVEN, '--octets', '8', '--octets', '8']],
  [[...GIVEN, '--format', 'pem']],
  [[...GIVEN, '--previous', '--all']],
  [[...GIVEN, '--help']],
  [[...GIVEN, '--no-such']],
])('%j is left to the program', (words) => {
  expect(parseKeyArguments(words)).toBeUndefined();
});
