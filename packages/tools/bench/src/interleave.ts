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

/**
 * Every other round goes the other way round: whoever comes second may find a warmer cache.
 *
 * @param report is told before each round how far it is, for a person who waits
 */
export async function interleave<N extends string, Q extends string>(
  rounds: number,
  subjects: Readonly<Record<N, Subject<Q>>>,
  report: (progress: string) => void = () => undefined,
): Promise<Rounds<N, Q>> {
  const entries = Object.entries(subjects) as [N, Subject<Q>][];
  const samples = Object.fromEntries(entries.map(([name]) => [name, []])) as unknown as Record<N, Measurement<Q>[]>;
  const since = performance.now();
  for (let round = 0; round < rounds; round++) {
    report(describeProgress(round, rounds, performance.now() - since));
    const sequence = round % 2 === 0 ? entries : entries.toReversed();
    for (const [name, measure] of sequence) samples[name].push(await measure(round));
  }
  return samples;
}

/** @param elapsedMs since the first round began */
export function describeProgress(round: number, rounds: number, elapsedMs: number): string {
  const progress = `round ${round + 1} of ${rounds}`;
  if (round === 0) return progress;
  return `${progress}, ${Math.ceil(((elapsedMs / round) * (rounds - round)) / 1000)} s to go if each takes as long as those before`;
}

/** One quantity of a contender's samples, by round. */
export function quantity<Q extends string>(samples: readonly Measurement<Q>[], name: Q): number[] {
  return samples.map((sample) => sample[name]);
}
