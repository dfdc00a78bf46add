/**
 * What is to be compared is measured in turn, round by round, so that a load that comes and goes
 * meets all of it alike.
 */

/** One measurement: quantities by name. */
export type Measurement<Q extends string> = Readonly<Record<Q, number>>;

/** Measures one contender once. */
export type Subject<Q extends string> = (round: number) => Measurement<Q> | Promise<Measurement<Q>>;

/** Samples of each contender, by round. */
export type Rounds<N extends string, Q extends string> = Readonly<Record<N, readonly Measurement<Q>[]>>;

/** Every other round goes the other way round: whoever comes second may find a warmer cache. */
export async function interleave<N extends string, Q extends string>(
  rounds: number,
  subjects: Readonly<Record<N, Subject<Q>>>,
): Promise<Rounds<N, Q>> {
  const entries = Object.entries(subjects) as [N, Subject<Q>][];
  const samples = Object.fromEntries(entries.map(([name]) => [name, []])) as unknown as Record<N, Measurement<Q>[]>;
  for (let round = 0; round < rounds; round++) {
    const sequence = round % 2 === 0 ? entries : entries.toReversed();
    for (const [name, measure] of sequence) samples[name].push(await measure(round));
  }
  return samples;
}

/** One quantity of a contender's samples, by round. */
export function quantity<Q extends string>(samples: readonly Measurement<Q>[], name: Q): number[] {
  return samples.map((sample) => sample[name]);
}
