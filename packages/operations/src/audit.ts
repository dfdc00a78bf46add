/** What an administrator does with the audit log. */

import { type AuditEntry, type AuditLog, formatHead, parseHead } from '@latchkey/registry';
import { NotFound, UsageFailure } from '@latchkey/runtime/failure';
import * as contract from './contract/audit.js';
import type {
  AuditHead,
  AuditListInput,
  AuditPage,
  AuditPruneInput,
  AuditVerification,
  AuditVerifyInput,
} from './contract/audit.js';
import { type Approval, type Context, implement, type Operation, withProgress } from './operation.js';

/** Problems of a log that are named; more would say nothing new. */
const MAX_PROBLEMS = 20;

export const auditList: Operation<AuditListInput, AuditPage> = implement(
  contract.auditList,
  async ({ registry }, { node, from, up_to: last = Infinity, since, limit }) => {
    await registry.refresh();
    const items: AuditEntry[] = [];
    const isInAscendingOrder = from !== undefined;
    const earliest = since === undefined ? undefined : Date.parse(since);
    const pages = isInAscendingOrder ? registry.audit.entryPages(from) : registry.audit.newestFirst();
    for await (const page of pages) {
      for (const entry of page) {
        if (items.length >= limit) break;
        if (entry.seq > last) continue;
        if (node !== undefined && entry.node !== node) continue;
        // A clock may have been set back since: a later entry may be of an earlier time.
        if (earliest !== undefined && Date.parse(entry.at) < earliest) continue;
        items.push(entry);
      }
      if (items.length >= limit || (isInAscendingOrder && (page.at(-1)?.seq ?? 0) >= last)) break;
    }
    return { items: isInAscendingOrder ? items : items.toReversed() };
  },
);

export const auditHead: Operation<object, AuditHead> = implement(contract.auditHead, async ({ registry }) => {
  await registry.refresh();
  const head = await registry.audit.readHead();
  return { head: head === undefined ? null : formatHead(head), seq: head?.seq ?? 0 };
});

export const auditVerify: Operation<AuditVerifyInput, AuditVerification> = implement(
  contract.auditVerify,
  async ({ registry: { audit } }, { against }) => {
    const expected = against === undefined ? undefined : parseHead(against);
    if (against !== undefined && expected === undefined)
      throw new UsageFailure('--against: expected SEQ:HASH, a number and 64 hex digits');
    const head = await audit.readHead();
    const problems: string[] = [];
    for await (const problem of audit.verify(expected)) {
      problems.push(problem);
      if (problems.length >= MAX_PROBLEMS) break;
    }
    return { valid: problems.length === 0, head: head === undefined ? 'none' : formatHead(head), problems };
  },
);

export interface PruneContext extends Context, Approval<AuditPruneInput> {
  /**
   * Keeps the entries, one a line, before they are taken out of the log. Pieces are of whole lines.
   */
  readonly keep: (pieces: AsyncIterable<string>) => Promise<void>;
}

/** The chain continues from the last pruned entry. */
export const auditPrune: Operation<AuditPruneInput, AuditPruneInput, PruneContext> = implement(
  contract.auditPrune,
  async (context: PruneContext, input) => {
    const { registry } = context;
    const { audit } = registry;
    const { up_to: upTo, out } = input;
    if ((await audit.readEntry(upTo)) === undefined)
      throw new NotFound(`there is no entry ${upTo}`, {
        advice: 'List them:',
        run: [['latchkey-auth-server', 'audit', 'list']],
      });
    await context.approve?.(input);
    await context.keep(linesUpTo(audit, upTo));
    const [length, head] = [await audit.readLength(), await audit.readHead()];
    const total = length - ((head?.seq ?? upTo) - upTo);
    await withProgress(context, 'pruning', total, (progress) => registry.pruneAudit(upTo, out, progress));
    return input;
  },
);

async function* linesUpTo(audit: AuditLog, last: number): AsyncGenerator<string> {
  for await (const page of audit.entryPages()) {
    yield page
      .filter(({ seq }) => seq <= last)
      .map((entry) => `${JSON.stringify(entry)}\n`)
      .join('');
    if ((page.at(-1)?.seq ?? 0) >= last) return;
  }
}
