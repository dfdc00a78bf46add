/**
 * What a caller should do about an operation that may have been done, a part of it, or nothing: the
 * connection broke, the API ended, or the keys did not arrive. Another run must not do it twice.
 */

import {
  controllersAdd,
  controllersRotate,
  importsRun,
  installersAdd,
  installersRemove,
  installersSet,
  nodesChangeMany,
  nodesExportWithKeys,
  nodesReset,
  ordersCreate,
  ordersExport,
} from '@latchkey/operations/contract';
import { type Advice, Failure, systemFailure } from '@latchkey/runtime/failure';
import type { Route } from '../route.js';

const PROGRAM = 'latchkey-auth-server';
const NOTHING_CHANGED: Advice = { advice: 'Nothing was changed. Run the command again.' };

const IF_UNFINISHED: Readonly<Record<string, Advice>> = {
  [ordersCreate.name]: {
    advice:
      'The order may be in the registry, and another run would order its nodes twice. If the list has it, write its manifest with `order export`. If not, run the command again.',
    run: [[PROGRAM, 'order', 'list']],
  },
  [controllersAdd.name]: {
    advice:
      'The controller may be in the registry. If the list has it, `controller rotate` writes another credential. If not, run the command again.',
    run: [[PROGRAM, 'controller', 'list']],
  },
  [controllersRotate.name]: {
    advice:
      'A new SK_cs may be staged that nobody holds. The controller goes on with the one that it has. Run the command again: it stages another one in its place.',
  },
  [installersAdd.name]: {
    advice: 'The installer may be stored. If the list has it, there is nothing left to do. If not, run the command again.',
    run: [[PROGRAM, 'installer', 'list']],
  },
  [installersSet.name]: { advice: 'The installer may be changed already. Run the command again: it does no harm twice.' },
  [installersRemove.name]: { advice: 'The installer may be removed already. Run the command again.' },
  [nodesReset.name]: {
    advice:
      'Nodes that were reset have initial keys that nobody holds, and cannot join with them. Run the command again: it draws others.',
  },
  [ordersExport.name]: { advice: 'The keys are as they were. Run the command again: it hands over the same ones.' },
  [nodesExportWithKeys.name]: { advice: 'The keys are as they were. Run the command again: it hands over the same ones.' },
  [importsRun.name]: {
    advice: 'All lines were imported, or none. Run the command again: what was imported stays as it is.',
  },
  [nodesChangeMany.name]: { advice: 'What was done stays done. Run the command again for the rest.' },
};

/** What is known of the job that did it. */
interface UnfinishedJob {
  readonly id: string;
  /** The first entry of the audit log that may be of it. */
  readonly auditFrom?: number | null | undefined;
}

/** @param job that was begun; what shows it comes first */
export function ifUnfinished(
  { name, method = 'GET', beginsJob }: Pick<Route, 'name' | 'method' | 'beginsJob'>,
  job?: UnfinishedJob,
): Advice {
  if (method === 'GET' || beginsJob === true) return NOTHING_CHANGED;
  const { advice = 'Look whether it was done before you run the command again.', run = [] } = IF_UNFINISHED[name] ?? {};
  const auditFrom = job?.auditFrom ?? undefined;
  const entry = auditFrom === undefined ? '' : ` The first entry of the audit log that may be of the job is ${auditFrom}.`;
  const all = [
    ...(job === undefined ? [] : [[PROGRAM, 'job', 'show', job.id]]),
    ...(auditFrom === undefined ? [] : [[PROGRAM, 'audit', 'list', '--from', String(auditFrom), '--limit', '10']]),
    ...run,
  ];
  return all.length === 0 ? { advice } : { advice: `${advice}${entry} To look:`, run: all };
}

/** Returns the error as a failure at work, with more advice below its own. */
export function withAdvice(error: unknown, { advice, run = [] }: Advice, message?: string): Failure {
  const failure = systemFailure('the operation did not end well', error);
  const all = [failure.advice, advice].filter((text) => text !== undefined);
  return new Failure(message ?? failure.message, {
    ...(all.length === 0 ? {} : { advice: all.join(' ') }),
    run: [...failure.run, ...run],
    cause: error,
  });
}
