/** Why many nodes have not joined: each is diagnosed, and those that need the same are counted. */

import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { chunksOf } from '@latchkey/registry';
import { readFolderLock } from '@latchkey/runtime/files';
import { isoTime } from '@latchkey/runtime/iso-time';
import * as contract from './contract/diagnosis-groups.js';
import type { DiagnosisGroup, DiagnosisGroups, DiagnosisGroupsInput } from './contract/diagnosis-groups.js';
import type { Action, Cause, Diagnosis } from './contract/diagnosis.js';
import { diagnoseNodes } from './diagnosis.js';
import { surroundingsOf } from './diagnosis-situation.js';
import { countNodes, queryNodes } from './node-query.js';
import { queryFor } from './nodes.js';
import { implement, inTurn, type Operation, withProgress } from './operation.js';

/** Nodes that are diagnosed before other requests are answered. */
const NODES_PER_YIELD = 8;
/** Nodes per read: from a database, reading them takes as long as reading one. */
const NODES_PER_READ = 64;
/** Nodes of a group that are named. */
const MAX_EXAMPLES = 20;
/**
 * Groups that differ only in the controller or the order of their action; further ones are joined.
 */
const MAX_GROUPS = 256;
/** A node for which these are found needs nothing. */
const WELL: ReadonlySet<Cause> = new Set<Cause>(['joined', 'joining']);

export const nodesDiagnoseGroups: Operation<DiagnosisGroupsInput, DiagnosisGroups> = implement(
  contract.nodesDiagnoseGroups,
  async (context, { filter }) => {
    const { registry, clock, visibleOrders } = context;
    const query = queryFor(context, filter);
    const lock = await readFolderLock(registry.folder);
    const surroundings = await surroundingsOf(registry, lock, clock(), { visibleOrders });
    const groups = new Groups();
    const { nodes: total } = await inTurn(context, () => countNodes(registry, query, surroundings.now));
    await withProgress(context, 'diagnosing', total, async (report) => {
      const pages = queryNodes(registry, query, surroundings.now);
      const diagnosePage = async (): Promise<boolean> => {
        const page = await pages.next();
        if (page.done === true) return false;
        const ids = page.value.map(({ idI }) => idI);
        for (const part of chunksOf(ids, NODES_PER_READ)) {
          for await (const diagnosis of diagnoseNodes(registry, part, surroundings)) {
            groups.add(diagnosis);
            report(groups.nodes);
            // To diagnose a page takes a quarter of a second.
            if (groups.nodes % NODES_PER_YIELD === 0) await yieldToOthers();
          }
        }
        return true;
      };
      // A million nodes take minutes. Other walks have their turns between two pages.
      while (await inTurn(context, diagnosePage));
    });
    return { at: isoTime(surroundings.now), nodes: groups.nodes, groups: groups.sorted() };
  },
);

class Groups {
  readonly #groups = new Map<string, DiagnosisGroup & { nodes: number; examples: string[] }>();
  nodes = 0;

  add({ id, cause, sentence, action }: Diagnosis): void {
    this.nodes += 1;
    const key = this.#keyOf(cause, action);
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, { cause, nodes: 1, examples: [id], sentence, action });
    else {
      group.nodes += 1;
      if (group.examples.length < MAX_EXAMPLES) group.examples.push(id);
    }
  }

  sorted(): DiagnosisGroup[] {
    const isWell = ({ cause }: DiagnosisGroup): number => Number(WELL.has(cause));
    return [...this.#groups.values()].toSorted((a, b) => isWell(a) - isWell(b) || b.nodes - a.nodes);
  }

  /** Two silent controllers form two groups, because each must be checked separately. */
  #keyOf(cause: Cause, action: Action): string {
    const { kind } = action;
    const about = 'controller' in action ? action.controller : 'order' in action ? String(action.order) : '';
    const key = `${cause} ${kind} ${about}`;
    return this.#groups.has(key) || this.#groups.size < MAX_GROUPS ? key : `${cause} ${kind}`;
  }
}
