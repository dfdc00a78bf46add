/** What a node lets others see of it: its number, its keys and its controller stay unnamed. */

import { type Check, type Observation, probeFolder } from '@latchkey/runtime';
import type { NodeFile } from './node-file.js';

/** A probe writes to flash: not at every look, in ms. */
const STORE_GOOD_FOR_MS = 60_000;

export function observe(file: NodeFile, folder: string): Observation {
  const checks: Check[] = [
    { name: 'key', look: () => faultOfKey(file, Date.now()), goodForMs: 0 },
    { name: 'store', look: () => probeFolder(folder).then(() => undefined), goodForMs: STORE_GOOD_FOR_MS },
  ];
  return { serves: () => true, checks, metrics: [] };
}

/** @param now ms since the epoch */
function faultOfKey({ record: { state, membership } }: NodeFile, now: number): string | undefined {
  if (state.initial || membership === undefined) return 'the node has not joined yet: it holds its initial key';
  const { at, lifetime } = membership;
  return lifetime > 0 && now > at + 1000 * lifetime ? 'the key has expired' : undefined;
}
