/** Targets that the schema takes, and that cannot work on this machine. */

import { type ConfigProblem, locateProblems } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';

export class WrongTargets extends UsageFailure {
  /** Of all targets, in their order. */
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(({ says }) => says).join('\n'));
    this.problems = problems;
  }
}

/**
 * Returns what `use` resolves to.
 *
 * @param configPath the configuration of the targets
 * @throws UsageFailure that names file and line of each problem, where `use` throws WrongTargets
 */
export async function locatingProblems<T>(configPath: string, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    throw error instanceof WrongTargets ? await locateProblems(configPath, error.problems) : error;
  }
}
