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

interface Given {
  readonly order: number;
  readonly installer: string;
  /** ISO times of the first and the last key. */
  readonly first: string;
  readonly last: string;
}

/** One line for each order: nodes that were reset got their keys at a thousand times. */
export function givenTo(issued: ExposureView['issued']): readonly Given[] {
  const lines = new Map<number, Given>();
  for (const { order, installer, at } of issued) {
    const { first = at, last = at } = lines.get(order) ?? {};
    lines.set(order, { order, installer, first: at < first ? at : first, last: at > last ? at : last });
  }
  return [...lines.values()];
}
