/** What an import would do to the registry, line by line, before it does it. */

import { formatId } from '@latchkey/protocol';
import { type NodeBatch } from './batch.js';
import type { Verdict } from './enrolment.js';
import { identify, ikIdentityKey } from './ik-identity.js';
import type { Registry } from './registry.js';

/** Problems of which line and reason are kept; the rest is counted. */
const MAX_PROBLEMS = 100_000;

/** Nodes that one import changes: they are changed in one transaction, which holds up every commit for some 30 us each. */
const MAX_CHANGES = 100_000;

const VERDICTS = ['add', 'change', 'unchanged', 'refuse'] as const satisfies readonly Verdict[];

export interface Problem {
  readonly line: number;
  /** 8 hex digits; absent where the line has none. */
  readonly id?: string | undefined;
  readonly reason: string;
}

/** What an import would do, in numbers and in words. */
export class ImportReport {
  readonly counts: Record<Verdict, number> = { add: 0, change: 0, unchanged: 0, refuse: 0 };
  /** Those that nodes are assigned to. */
  readonly controllers: Set<number> = new Set();
  /** Lines that are refused. */
  readonly problems: Problem[] = [];
  /** Nodes that get another key or controller. */
  readonly changes: Problem[] = [];
  /** Nodes that are new; of very many, the first that were met. */
  readonly additions: Omit<Problem, 'reason'>[] = [];

  /** A line that is refused; of very many, only how many there are. */
  refuse(problem: Problem): void {
    this.counts.refuse += 1;
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
  }

  /** Adds what is true of another part. */
  take({ counts, controllers, problems, changes, additions }: ImportReport): void {
    for (const verdict of VERDICTS) this.counts[verdict] += counts[verdict];
    for (const idC of controllers) this.controllers.add(idC);
    for (const change of changes) this.changes.push(change);
    for (const addition of additions) if (this.additions.length < MAX_PROBLEMS) this.additions.push(addition);
    for (const problem of problems) if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
  }

  /** Puts what is told in the order of the file. */
  sort(): void {
    for (const told of [this.problems, this.changes, this.additions]) told.sort((a, b) => a.line - b.line);
  }
}

export class ImportPlan extends ImportReport {
  readonly #verdicts: Uint8Array;

  constructor(length: number) {
    super();
    this.#verdicts = new Uint8Array(length);
  }

  verdict(i: number): Verdict {
    return VERDICTS[this.#verdicts[i] ?? 0] ?? 'refuse';
  }

  decide(i: number, verdict: Exclude<Verdict, 'refuse'>): void {
    this.#verdicts[i] = VERDICTS.indexOf(verdict);
    this.counts[verdict] += 1;
  }

  decideAgainst(i: number, problem: Problem): void {
    this.#verdicts[i] = VERDICTS.indexOf('refuse');
    this.refuse(problem);
  }
}

interface PlanOptions {
  readonly maxChanges?: number;
  /** Nodes that other parts of the import change. */
  readonly changedBefore?: number;
  /** Whether nodes that are added are to be named. */
  readonly naming?: boolean;
}

/** Compares each node of the batch with the registry. */
export function planImport(
  registry: Registry,
  batch: NodeBatch,
  { maxChanges = MAX_CHANGES, changedBefore = 0, naming = false }: PlanOptions = {},
): ImportPlan {
  const plan = new ImportPlan(batch.length);
  const { nodes } = registry.tables;
  const controllers = new Set([...registry.controllers()].map(({ idC }) => idC));
  const identity = ikIdentityKey(registry.tables);
  const wanted = (i: number): Buffer => {
    const ik = batch.ik(i);
    const octets = Buffer.from(identify(identity, ik));
    ik.wipe();
    return octets;
  };
  registry.tables.seeLatest();
  let [before, lineBefore] = [-1, 0];
  for (const i of batch.inOrder()) {
    const [idI, idC, line] = [batch.idI(i), batch.idC(i), batch.line(i)];
    const refuse = (reason: string): void => plan.decideAgainst(i, { line, id: formatId(idI), reason });
    if (idI === before) {
      refuse(`stands in line ${lineBefore} already`);
      continue;
    }
    [before, lineBefore] = [idI, line];
    if (controllers.has(idC)) plan.controllers.add(idC);
    const row = nodes.get(idI);
    // What an order left unfinished is cleared away before anything is written.
    const there = row !== undefined && registry.order(row.order)?.state !== 'pending' ? row : undefined;
    if (!controllers.has(idC)) refuse(`controller ${formatId(idC)} is not in the registry`);
    else if (there === undefined) {
      plan.decide(i, 'add');
      if (naming && plan.additions.length < MAX_PROBLEMS) plan.additions.push({ line, id: formatId(idI) });
    } else {
      const sameKey = wanted(i).equals(there.ik);
      if (sameKey && there.controller === idC) plan.decide(i, 'unchanged');
      else if (!there.initial)
        refuse(
          sameKey ? 'has joined, through another controller: node move' : 'has joined, with another initial key: node reset',
        );
      else if (registry.order(there.order)?.state === 'closed')
        refuse(`its order ${there.order} is closed for good, so that it cannot join: node remove, then import it again`);
      else if (changedBefore + plan.counts.change >= maxChanges)
        refuse(`more than ${maxChanges} nodes to change: import them in parts`);
      else {
        plan.decide(i, 'change');
        const what = [
          ...(sameKey ? [] : ['another key']),
          ...(there.controller === idC ? [] : [`controller ${formatId(there.controller)} -> ${formatId(idC)}`]),
        ];
        plan.changes.push({ line, id: formatId(idI), reason: what.join(', ') });
      }
    }
  }
  identity.wipe();
  plan.sort();
  return plan;
}
