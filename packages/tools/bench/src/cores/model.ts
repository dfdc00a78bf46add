/** What joins/s can be on so many cores: for machines that are not at hand. */

/** What a join takes of a process, us of CPU time. */
export interface ProcessCost {
  readonly name: string;
  /** Of all its threads. */
  readonly cpuUs: number;
  /** Of the thread that runs JavaScript: no second core makes that one faster. */
  readonly mainThreadUs: number;
}

export interface ModelRate {
  readonly perSecond: number;
  readonly limitedBy: string;
}

/** All cores are busy, or the busiest thread is, whichever comes first. */
export function modelRate(cores: number, costs: readonly ProcessCost[]): ModelRate {
  const allUs = costs.reduce((sum, { cpuUs }) => sum + cpuUs, 0);
  const busiest = costs.reduce((most, one) => (one.mainThreadUs > most.mainThreadUs ? one : most));
  return allUs / cores >= busiest.mainThreadUs
    ? { perSecond: (1e6 * cores) / allUs, limitedBy: cores === 1 ? 'the core' : 'all cores' }
    : { perSecond: 1e6 / busiest.mainThreadUs, limitedBy: `the main thread of the ${busiest.name}` };
}
