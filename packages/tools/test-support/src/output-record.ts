/**
 * What programs print and answer while a test file runs, and the keys that must not be in it. Only
 * under vitest is anything recorded: `leak-check` begins it, and searches at the end of each file.
 */

import { KeySearch } from './key-search.js';

/** Octets that are kept of each kind of output; what comes after is not searched. */
const MAX_OCTETS = 64 * 1024 * 1024;
/** Keys of each kind that are looked for; more come of tests of speed and of volume. */
const MAX_KEYS = 20_000;

/**
 * `log`: a log or an answer, where no key belongs. `process`: all that a program prints, which may
 * be a key that it was asked for: it is searched for the keys of networks only.
 */
export type OutputKind = 'log' | 'process';

class OutputRecord {
  readonly outputs: Readonly<Record<OutputKind, Buffer[]>> = { log: [], process: [] };
  readonly #length: Record<OutputKind, number> = { log: 0, process: 0 };
  /** In hex. */
  readonly keys = new Set<string>();
  readonly networkKeys = new Set<string>();

  output(kind: OutputKind, octets: Buffer): void {
    if (this.#length[kind] > MAX_OCTETS) return;
    this.#length[kind] += octets.length;
    this.outputs[kind].push(octets);
  }

  /** Names each leak; never the key. */
  leaks(): readonly string[] {
    return [
      ...leaksIn(this.outputs.log, 'a log or an answer', [this.keys, this.networkKeys]),
      ...leaksIn(this.outputs.process, 'the output of a process', [this.networkKeys]),
    ];
  }
}

function leaksIn(outputs: readonly Buffer[], where: string, sets: readonly ReadonlySet<string>[]): string[] {
  if (outputs.length === 0) return [];
  const search = new KeySearch();
  for (const keys of sets) for (const hex of keys) search.addAllForms(`${where} has a key`, Buffer.from(hex, 'hex'));
  search.search(Buffer.concat(outputs));
  return [...search.found()];
}

let record: OutputRecord | undefined;
let isOfNetwork = false;

export function beginRecord(): void {
  record = new OutputRecord();
}

/** Gives what was leaked since the record began. */
export function endRecord(): readonly string[] {
  const leaks = record?.leaks() ?? [];
  record = undefined;
  return leaks;
}

export function isRecording(): boolean {
  return record !== undefined;
}

export function recordOutput(kind: OutputKind, output: string | Uint8Array): void {
  record?.output(kind, typeof output === 'string' ? Buffer.from(output) : Buffer.from(output));
}

export function recordKey(key: Uint8Array): void {
  if (record === undefined) return;
  const keys = isOfNetwork ? record.networkKeys : record.keys;
  if (keys.size < MAX_KEYS) keys.add(Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex'));
}

/** The keys that `read` makes are of a network. */
export async function recordNetworkKeys(read: () => Promise<void>): Promise<void> {
  if (record === undefined) return;
  isOfNetwork = true;
  try {
    await read();
  } finally {
    isOfNetwork = false;
  }
}
