import type { JobView } from '@latchkey/operations/contract';
import { isoTime } from '@latchkey/runtime/iso-time';
import { hasEntry } from './job-entries.js';
import type { JobRecord } from './request-store.js';

export function viewJob(record: JobRecord): JobView {
  const { id, kind, actor, state, done, total, createdAt, finishedAt, result, problem } = record;
  return {
    id,
    kind,
    by: actor,
    state,
    done,
    total,
    created_at: isoTime(createdAt),
    finished_at: finishedAt === null ? null : isoTime(finishedAt),
    result,
    problem,
    audit_from: auditFromOf(record),
  };
}

/**
 * A caller limited to some orders sees no entry numbers, because they reveal changes to other
 * orders.
 */
function auditFromOf({ kind, limits, state, auditHead, auditFrom }: JobRecord): number | null {
  if (limits !== null || state === 'running' || state === 'done' || !hasEntry(kind) || auditHead === undefined) return null;
  return auditFrom === undefined ? auditHead + 1 : auditFrom;
}
