/** What is to be compared is measured in turn, round by round, so that a load that comes and goes meets all of it alike. */

/** One measurement: quantities by name. */
export type Sample<Q extends string> = Readonly<Record<Q, number>>;

/** Measures one contender once. */
export type Contender<Q extends string> = (round: number) => Sample<Q> | Promise<Sample<Q>>;

/** Samples of each contender, by round. */
export type Rounds<N extends string, Q extends string> = Readonly<Record<N, readonly Sample<Q>[]>>;

/** Every other round goes the other way round: whoever comes second may find a warmer cache. */
export async function inTurn<N extends string, Q extends string>(
  rounds: number,
  contenders: Readonly<Record<N, Contender<Q>>>,
): Promise<Rounds<N, Q>> {
  const entries = Object.entries(contenders) as [N, Contender<Q>][];
  const samples = Object.fromEntries(entries.map(([name]) => [name, []])) as unknown as Record<N, Sample<Q>[]>;
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? entries : entries.toReversed();
    for (const [name, measure] of order) samples[name].push(await measure(round));
  }
  return samples;
}

/** One quantity of a contender's samples, by round. */
export function quantity<Q extends string>(samples: readonly Sample<Q>[], name: Q): number[] {
  return samples.map((sample) => sample[name]);
}
