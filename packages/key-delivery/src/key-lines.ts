/** The lines that the key socket sends. */

import { deriveApplicationKey, formatId, KEY_LENGTH } from '@latchkey/protocol';
import type { FormerGeneration, KeyGeneration, KeyState, NodeKeys } from './key-source.js';
import { LineBuffer } from './line-buffer.js';

/** The sequence number of all lines of a snapshot: nothing can be resumed from within one. */
const IN_SNAPSHOT = 0;

/** The event for a node that has no current key. */
const EVENTS = {
  initial: 'reset',
  disabled: 'disabled',
  removed: 'removed',
  moved: 'moved',
  expired: 'expired',
  withdrawn: 'withdrawn',
} as const;

/** `unknown`: the daemon knows no such node. */
export type EffectiveState = KeyState | 'unknown';

/** Returns the state at `now`: a key whose time is over is expired, whatever the source says. */
export function stateAt(keys: NodeKeys | undefined, now: number): EffectiveState {
  if (keys === undefined) return 'unknown';
  if (keys.state !== 'current') return keys.state;
  return keys.current === undefined || isOver(keys.current, now) ? 'expired' : 'current';
}

export function isOver({ expiresAt }: KeyGeneration, now: number): boolean {
  return expiresAt !== undefined && now > expiresAt;
}

/** Returns the former generations that peers may still use at `now`. */
export function formerAt(keys: NodeKeys, now: number): readonly FormerGeneration[] {
  return keys.former.filter((generation) => generation.until > now && !isOver(generation, now));
}

/** Wipes the application roots of all generations. */
export function wipeKeys(keys: NodeKeys | undefined): void {
  keys?.current?.applicationRoot.wipe();
  for (const { applicationRoot } of keys?.former ?? []) applicationRoot.wipe();
}

/** Returns the event for a node's state. @param seq `undefined` within a snapshot */
export function eventLine(
  idI: number,
  keys: NodeKeys | undefined,
  labels: readonly string[],
  now: number,
  seq: number = IN_SNAPSHOT,
): Buffer {
  const line = new LineBuffer().raw('{"seq":').value(seq).raw(',"event":');
  const state = stateAt(keys, now);
  const id = formatId(idI);
  if (keys?.current === undefined || state !== 'current') {
    const event = state === 'unknown' || state === 'current' ? 'removed' : EVENTS[state];
    return line.value(event).raw(',"id":').value(id).raw('}').end();
  }
  line.raw('"key","id":').value(id).raw(',');
  writeGenerations(line, keys, keys.current, labels, KEY_LENGTH, now);
  return line.raw('}').end();
}

/** Returns the answer to a look-up of several labels, with all generations in use. */
export function generationsLine(
  get: string,
  keys: NodeKeys,
  current: KeyGeneration,
  labels: readonly string[],
  octets: number,
  now: number,
): Buffer {
  const line = new LineBuffer().raw('{"get":').value(get).raw(',"id":').value(formatId(keys.idI)).raw(',');
  writeGenerations(line, keys, current, labels, octets, now, true);
  return line.raw('}').end();
}

/** Returns the answer to a look-up of one label. */
export function keyLine(get: string, idI: number, generation: KeyGeneration, label: string, octets: number): Buffer {
  const line = new LineBuffer().raw('{"get":').value(get).raw(',"id":').value(formatId(idI));
  line.raw(',"kid":').value(generation.keyId).raw(',"key":');
  writeKey(line, generation, idI, label, octets);
  return line.raw(',"not_after":').value(timeOf(generation.expiresAt)).raw('}').end();
}

/** Returns a line without keys. */
export function plainLine(fields: Readonly<Record<string, string | number>>): Buffer {
  return Buffer.from(`${JSON.stringify(fields)}\n`);
}

function writeGenerations(
  line: LineBuffer,
  keys: NodeKeys,
  current: KeyGeneration,
  labels: readonly string[],
  octets: number,
  now: number,
  withFingerprint: boolean = false,
): void {
  const write = (generation: KeyGeneration): LineBuffer => {
    line.raw('"kid":').value(generation.keyId).raw(',"keys":{');
    labels.forEach((label, index) => {
      line
        .raw(index === 0 ? '' : ',')
        .value(label)
        .raw(':');
      writeKey(line, generation, keys.idI, label, octets);
    });
    line.raw('},"not_after":').value(timeOf(generation.expiresAt));
    if (withFingerprint) line.raw(',"fingerprint":').value(generation.applicationRoot.fingerprint);
    return line;
  };
  write(current).raw(',"joined":').value(timeOf(current.joinedAt)).raw(',"verified":').value(keys.verified);
  line.raw(',"previous":[');
  formerAt(keys, now).forEach((former, index) => {
    line.raw(index === 0 ? '{' : ',{');
    write(former).raw(',"until":').value(timeOf(former.until)).raw('}');
  });
  line.raw(']');
}

function writeKey(line: LineBuffer, { applicationRoot }: KeyGeneration, idI: number, label: string, octets: number): void {
  const key = deriveApplicationKey(applicationRoot, label, idI, octets);
  line.hex(key);
  key.fill(0);
}

function timeOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
