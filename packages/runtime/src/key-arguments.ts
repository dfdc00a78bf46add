/**
 * Parses the usual options of `key` without the command-line parser. It loads nothing, because the
 * command must start fast.
 */

import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type KeyFormat, KEY_FORMATS, type KeyOutputOptions } from './key-output.js';

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

/** 1 to 255. */
const OCTETS = /^(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])$/;
const DEFAULT_OCTETS = '16';
/** As for the program. */
const MAX_LABELS = 16;
const RESERVED = 'latchkey ';

export interface KeyArguments extends KeyOutputOptions {
  readonly state: string;
  readonly octets: number;
  readonly format: KeyFormat;
  readonly kid: boolean;
  readonly previous: boolean;
  readonly all: boolean;
  readonly allowExpired: boolean;
  /** Words that belong to no option. */
  readonly positionals: readonly string[];
}

/**
 * Returns `undefined` for arguments that are not plainly right: the full program reports the fault.
 */
export function parseKeyArguments(words: readonly string[]): KeyArguments | undefined {
  try {
    const { values, positionals } = parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
    const { state: states = [], label: given = [], octets: lengths = [], format: formats = [] } = values;
    const [octets = DEFAULT_OCTETS] = lengths;
    const state = states[0] ?? process.env['LATCHKEY_STATE'] ?? '';
    const format = KEY_FORMATS.find((one) => one === (formats[0] ?? 'hex'));
    const { kid = false, previous = false, all = false, 'allow-expired': allowExpired = false } = values;
    const label = [...new Set(given)];
    const isOnce = [states, lengths, formats].every(({ length }) => length <= 1);
    const isRight = OCTETS.test(octets) && label.length > 0 && label.length <= MAX_LABELS && label.every(isPlainLabel);
    if (!isOnce || !isRight || state === '' || format === undefined || (previous && all)) return undefined;
    return { state, label, octets: Number(octets), format, kid: kid || all, previous, all, allowExpired, positionals };
  } catch {
    return undefined;
  }
}

function isPlainLabel(label: string): boolean {
  return label !== '' && !label.includes('\0') && !label.startsWith(RESERVED);
}

/** Writes to standard output. `process.stdout` takes as long to load as all else here. */
export function printDirectly(text: string): void {
  const octets = Buffer.from(text);
  let written = 0;
  try {
    while (written < octets.length) written += writeSync(STDOUT, octets, written);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // `command | head` closes our standard output early: no reason to complain.
    if (code === 'EPIPE') return;
    // A full non-blocking pipe, or a disk error, which the full program reports.
    process.stdout.write(octets.subarray(written));
  }
}
