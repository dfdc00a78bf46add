/** Many nodes are changed part by part. Each part is one write: all of it happens, or nothing. */

import { chunksOf } from '@latchkey/registry';
import { Failure } from '@latchkey/runtime/failure';
import { pluralize } from './pluralize.js';

/** Nodes changed in one write: long enough to be fast, short enough to hold up no commit. */
export const NODES_PER_TRANSACTION = 4_096;

/** Called after each part with the number of nodes that are done. Throws to leave out the rest. */
export type AfterPart = (done: number, total: number) => void | Promise<void>;

/** Some nodes were changed, and something failed after that. */
export class PartlyDone extends Failure {
  override readonly name = 'PartlyDone';
  /** In words, without the reason of the failure. */
  readonly done: string;

  constructor(done: string, error: Error, advice: string) {
    super(`${done}: ${error.message}`, { advice, cause: error });
    this.done = done;
  }
}

/**
 * Changes nodes, part by part.
 *
 * @throws PartlyDone if a part fails after another was done
 */
export async function changeInParts(
  ids: readonly number[],
  change: (part: readonly number[]) => Promise<void>,
  afterPart?: AfterPart,
): Promise<void> {
  let done = 0;
  try {
    for (const part of chunksOf(ids, NODES_PER_TRANSACTION)) {
      await change(part);
      done += part.length;
      await afterPart?.(done, ids.length);
    }
  } catch (error) {
    // The advice of a failed write is that nothing was changed.
    if (done === 0 || !(error instanceof Failure)) throw error;
    throw new PartlyDone(
      `${done} of ${pluralize(ids.length, 'node')} were done`,
      error,
      'What was done stays done. Run the command again for the rest.',
    );
  }
}
