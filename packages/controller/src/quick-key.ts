/** `key` where a controller runs on the folder and has the key: without the program. */

import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { formatKeys, type KeyFormat, KEY_FORMATS, selectGenerations } from '@latchkey/runtime/key-output';
import { askDaemon } from './daemon-keys.js';

const STDOUT = 1;

const OPTIONS = {
  state: { type: 'string', multiple: true },
  label: { type: 'string', multiple: true },
  octets: { type: 'string', multiple: true },
  format: { type: 'string', multiple: true },
  kid: { type: 'boolean' },
  previous: { type: 'boolean' },
  all: { type: 'boolean' },
  'allow-expired': { type: 'boolean' },
} as const;

const ID = /^[0-9a-f]{8}$/i;
/** 1 to 255. */
const OCTETS = /^(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])$/;
const DEFAULT_OCTETS = '16';
const RESERVED = 'latchkey ';

type Query = Parameters<typeof askDaemon>[1] & {
  readonly state: string;
  readonly format: KeyFormat;
  readonly kid: boolean;
  readonly previous: boolean;
  readonly all: boolean;
};

/** Returns false if the program has to do it: nothing was printed then. */
export async function printFromDaemon(words: readonly string[]): Promise<boolean> {
  // As in `main`: Node.js would open its debugger to every user of this machine.
  process.on('SIGUSR1', () => undefined);
  const query = parse(words);
  if (query === undefined) return false;
  const answer = await askDaemon(query.state, query);
  if (answer === undefined || 'error' in answer) return false;
  const generations = selectGenerations(answer.generations, query);
  if (generations.length === 0) return false;
  print(formatKeys(query.id, generations, query));
  return true;
}

/** `process.stdout` takes as long to load as all else here. */
function print(text: string): void {
  const octets = Buffer.from(text);
  let written = 0;
  try {
    while (written < octets.length) written += writeSync(STDOUT, octets, written);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // `command | head` closes our standard output early: no reason to complain.
    if (code === 'EPIPE') return;
    // A pipe that is full, and does not wait; or a disk, of which the program says what is wrong.
    process.stdout.write(octets.subarray(written));
  }
}

/** `undefined` for all that is not plainly right: the program says what is wrong with it. */
function parse(words: readonly string[]): Query | undefined {
  try {
    const { values, positionals } = parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
    const { state: states = [], label = [], octets: lengths = [], format: formats = [] } = values;
    const [id = ''] = positionals;
    const [octets = DEFAULT_OCTETS] = lengths;
    const state = states[0] ?? process.env['LATCHKEY_STATE'] ?? '';
    const format = KEY_FORMATS.find((one) => one === (formats[0] ?? 'hex'));
    const { kid = false, previous = false, all = false, 'allow-expired': allowExpired = false } = values;
    const isOnce = [states, lengths, formats].every((given) => given.length <= 1) && positionals.length === 1;
    const isRight = ID.test(id) && OCTETS.test(octets) && label.length > 0 && label.every(isPlainLabel);
    if (!isOnce || !isRight || state === '' || format === undefined || (previous && all)) return undefined;
    const labels = [...new Set(label)];
    return {
      id: id.toLowerCase(),
      state,
      label: labels,
      octets: Number(octets),
      format,
      kid: kid || all,
      previous,
      all,
      allowExpired,
    };
  } catch {
    return undefined;
  }
}

function isPlainLabel(label: string): boolean {
  return label !== '' && !label.includes('\0') && !label.startsWith(RESERVED);
}
