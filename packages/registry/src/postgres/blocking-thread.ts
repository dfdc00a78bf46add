/** The thread that reads for `BlockingStorage`: one question at a time, each with one answer. */

import { workerData } from 'node:worker_threads';
import { createLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { type Answer, BlockingReads, type ThreadOptions, type ThrownFailure } from './blocking-reads.js';
import { openPostgresStorage } from './open-storage.js';
import type { PostgresStorage } from './postgres-storage.js';

const { config, folder, port, signal } = workerData as ThreadOptions;
let storage: PostgresStorage | undefined;

async function open(): Promise<PostgresStorage> {
  return openPostgresStorage(config, { folder, log: await createLog('auth-server', 'error', 'stderr') });
}

async function answer({ method, args }: { readonly method: keyof BlockingReads; readonly args: unknown[] }): Promise<void> {
  let given: Answer;
  try {
    storage ??= await open();
    const reads = new BlockingReads(storage);
    given = { result: await (reads[method] as (...args: unknown[]) => unknown).apply(reads, args) };
  } catch (error) {
    given = { failure: toThrown(error) };
  }
  port.postMessage(given);
  Atomics.store(signal, 0, 1);
  Atomics.notify(signal, 0);
}

port.on('message', (question: Parameters<typeof answer>[0]) => void answer(question));
port.on('close', () => void storage?.close());

function toThrown(error: unknown): ThrownFailure {
  if (error instanceof Failure) {
    const { name, message, advice, run } = error;
    return { name, message, advice, run };
  }
  return { name: 'Error', message: error instanceof Error ? String(error.stack) : String(error) };
}
