/** What a line of the exposure of initial keys is about. */

import type { ExposureView } from '@latchkey/operations/contract';

interface ExposureLine {
  /** `undefined`: its key was given out in several orders. */
  readonly order: number | undefined;
  readonly keys: number;
  /** Fingerprint, if it is of one key. */
  readonly key: string | undefined;
}

/** A line is of all keys of an order, `40 of order 3`, or of the one key of its nodes. */
export function lineOf({ keys, issued }: Pick<ExposureView, 'keys' | 'issued'>): ExposureLine {
  const [, count, number] = /^(\d+) of order (\d+)$/.exec(keys) ?? [];
  if (count !== undefined) return { order: Number(number), keys: Number(count), key: undefined };
  const [order, ...others] = new Set(issued.map((one) => one.order));
  return { order: others.length === 0 ? order : undefined, keys: 1, key: keys };
}
