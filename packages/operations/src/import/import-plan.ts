/** What an import would do to the registry, line by line, before it does it. */

import { formatId, type Secret } from '@latchkey/protocol';
import { changedDescription } from '../descriptions.js';
import type { NodeBatch } from '../node-batch.js';
import type { ImportAction, JudgedNode } from '../enrolment.js';
import { initialKeyIdentifier, type NodeRow, type OrderRow, type Registry, type Snapshot } from '@latchkey/registry';
import { identityOf, type RepeatedKeys } from './import-keys.js';

/** Problems that are stored with line and reason; further ones are counted. */
const MAX_PROBLEMS = 100_000;

/**
 * Nodes that one import changes: they are changed in one transaction, which holds up every commit
 * for some 30 us each. A storage engine may take fewer in one write.
 */
const MAX_CHANGES = 100_000;

/** Bit of a decision: the file describes the node otherwise than the registry. */
const OTHER_TEXTS = 0x80;

const IMPORT_ACTIONS = ['add', 'change', 'unchanged', 'duplicate', 'reject'] as const satisfies readonly ImportAction[];

export interface Problem {
  readonly line: number;
  /** 8 hex digits; absent where the line has none. */
  readonly id?: string | undefined;
  readonly reason: string;
}

/** Effects of an import, as counts and as text. */
export class ImportReport {
  readonly counts: Record<ImportAction, number> = { add: 0, change: 0, unchanged: 0, duplicate: 0, reject: 0 };
  /** Those that nodes are assigned to. */
  readonly controllers: Set<number> = new Set();
  /** Lines that are refused. */
  readonly problems: Problem[] = [];
  /** Nodes that get another key or controller. */
  readonly changes: Problem[] = [];
  /** How many of those move, by `FROM to TO`. */
  readonly moves: Map<string, number> = new Map();
  /** Lines that are refused because another node has their key. */
  sharedKeys = 0;
  /**
   * Nodes whose description in the file differs from that of the registry, which is not changed.
   */
  otherTexts = 0;
  /** Nodes that are new; of very many, the first that were met. */
  readonly additions: Omit<Problem, 'reason'>[] = [];

  /** A line that is refused; of very many, only how many there are. */
  addRejected(problem: Problem): void {
    this.counts.reject += 1;
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
  }

  /** Adds the results of another part. */
  merge({ counts, controllers, problems, changes, additions, moves, sharedKeys, otherTexts }: ImportReport): void {
    this.sharedKeys += sharedKeys;
    this.otherTexts += otherTexts;
    for (const [way, count] of moves) this.move(way, count);
    for (const action of IMPORT_ACTIONS) this.counts[action] += counts[action];
    for (const idC of controllers) this.controllers.add(idC);
    for (const change of changes) this.changes.push(change);
    for (const addition of additions) if (this.additions.length < MAX_PROBLEMS) this.additions.push(addition);
    for (const problem of problems) if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
  }

  move(way: string, count: number): void {
    this.moves.set(way, (this.moves.get(way) ?? 0) + count);
  }

  /** Sorts the messages in the order of the file. */
  sort(): void {
    for (const list of [this.problems, this.changes, this.additions]) list.sort((a, b) => a.line - b.line);
  }
}

export class ImportPlan extends ImportReport {
  readonly #actions: Uint8Array;
  /** Of the nodes that change. */
  readonly #judged = new Map<number, JudgedNode>();

  constructor(length: number) {
    super();
    this.#actions = new Uint8Array(length);
  }

  actionFor(i: number): ImportAction {
    return IMPORT_ACTIONS[(this.#actions[i] ?? 0) & ~OTHER_TEXTS] ?? 'reject';
  }

  /** An octet for each line of the batch: what happens to it. */
  get decisions(): Uint8Array {
    return this.#actions;
  }

  /** The file describes the node of index `i`, which is decided, otherwise than the registry. */
  noteOtherTexts(i: number): void {
    this.#actions[i] = (this.#actions[i] ?? 0) | OTHER_TEXTS;
    this.otherTexts += 1;
  }

  /** What the node of index `i` was when its change was decided. */
  judgedAs(i: number): JudgedNode | undefined {
    return this.#judged.get(i);
  }

  judge(i: number, { order, entry }: JudgedNode): void {
    this.#judged.set(i, { order, entry });
  }

  decide(i: number, action: Exclude<ImportAction, 'reject'>): void {
    this.#actions[i] = IMPORT_ACTIONS.indexOf(action);
    this.counts[action] += 1;
  }

  reject(i: number, problem: Problem): void {
    this.#actions[i] = IMPORT_ACTIONS.indexOf('reject');
    this.addRejected(problem);
  }
}

interface PlanOptions {
  readonly maxChanges?: number;
  /** Nodes that other parts of the import change. */
  readonly changedBefore?: number;
  /** True if added nodes must be listed. */
  readonly listAdditions?: boolean;
  /** Initial keys that are refused, since several nodes have them. */
  readonly repeated?: RepeatedKeys;
}

const NONE: RepeatedKeys = new Map();

/** Compares each node of the batch with the registry, in parts, each as of one moment. */
export async function planImport(registry: Registry, batch: NodeBatch, options: PlanOptions = {}): Promise<ImportPlan> {
  const { listAdditions = false } = options;
  const plan = new ImportPlan(batch.length);
  const controllers = new Set((await registry.controllers()).map(({ idC }) => idC));
  const compare = new Comparison(registry, batch, controllers, options);
  const indices = batch.indicesById();
  const ids = Array.from(indices, (i) => batch.idI(i));
  let previousId: number | undefined;
  const look = (found: Snapshot, i: number): void => {
    const [id, line] = [formatId(batch.idI(i)), batch.line(i)];
    if (previousId === undefined || batch.idI(previousId) !== batch.idI(i)) {
      previousId = i;
      if (controllers.has(batch.idC(i))) plan.controllers.add(batch.idC(i));
      const { verdict, reason, judged, ...more } = compare.node(found, i, plan.counts.change);
      if (verdict === 'reject') plan.reject(i, { line, id, reason });
      else plan.decide(i, verdict);
      if (verdict === 'change') plan.changes.push({ line, id, reason });
      if (judged !== undefined) plan.judge(i, judged);
      if (verdict === 'add' && listAdditions && plan.additions.length < MAX_PROBLEMS) plan.additions.push({ line, id });
      if (more.move !== undefined) plan.move(more.move, 1);
      if (more.sharedKey === true) plan.sharedKeys += 1;
      if ((verdict === 'change' || verdict === 'unchanged') && hasOtherTexts(found, batch, i)) plan.noteOtherTexts(i);
      return;
    }
    const differs = differencesOf(batch, previousId, i);
    if (differs.length === 0) plan.decide(i, 'duplicate');
    else {
      const reason = `stands in line ${batch.line(previousId)} already, with another ${differs.join(' and ')}`;
      plan.reject(i, { line, id, reason });
    }
  };
  await registry.readNodes(ids, (found, part, from) => {
    for (const i of indices.subarray(from, from + part.length)) look(found, i);
  });
  plan.sort();
  return plan;
}

interface Decision {
  readonly verdict: Exclude<ImportAction, 'duplicate'>;
  /** Reason for a rejection, or the changes; otherwise empty. */
  readonly reason: string;
  /** New state of the node, if it changes. */
  readonly judged?: JudgedNode;
  /** Set if the node moves: `from FROM to TO`. */
  readonly move?: string;
  /** Set if the node is refused because another one has its key. */
  readonly sharedKey?: true;
}

/** Compares nodes of a batch with the registry, one by one. */
class Comparison {
  readonly #controllers: ReadonlySet<number>;
  readonly #batch: NodeBatch;
  readonly #identify: (ik: Secret) => Uint8Array;
  readonly #repeated: RepeatedKeys;
  readonly #maxChanges: number;
  readonly #changedBefore: number;

  constructor(registry: Registry, batch: NodeBatch, controllers: ReadonlySet<number>, options: PlanOptions) {
    const { maxNodesPerWrite = MAX_CHANGES } = registry.storage;
    const { maxChanges = Math.min(MAX_CHANGES, maxNodesPerWrite), changedBefore = 0, repeated = NONE } = options;
    [this.#controllers, this.#batch, this.#repeated] = [controllers, batch, repeated];
    [this.#maxChanges, this.#changedBefore] = [maxChanges, changedBefore];
    const identity = registry.initialKeyIdKey();
    this.#identify = initialKeyIdentifier(identity);
    identity.wipe();
  }

  /** @param changed nodes of the batch that change so far */
  node(found: Snapshot, i: number, changed: number): Decision {
    const [idI, idC] = [this.#batch.idI(i), this.#batch.idC(i)];
    if (!this.#controllers.has(idC)) return refuse(`controller ${formatId(idC)} is not in the registry`);
    const row = found.node(idI)?.row;
    const orderState = row && found.order(row.order)?.row.state;
    // What an order left unfinished is cleared away before anything is written.
    if (row === undefined || orderState === 'pending') return this.#sharedKey(i) ?? { verdict: 'add', reason: '' };
    const sameKey = this.#identityOf(i).equals(row.ik);
    if (row.initial && row.split === true && !sameKey && !this.#batch.isSplit)
      return refuse('its initial key is split: --device-keys, or node reset --unsplit');
    if (sameKey && row.controller === idC) return { verdict: 'unchanged', reason: '' };
    return (
      this.#refusalOf(row, orderState, sameKey, changed) ??
      (sameKey ? undefined : this.#sharedKey(i)) ??
      changeOf(row, idC, sameKey)
    );
  }

  #refusalOf(row: NodeRow, orderState: OrderRow['state'] | undefined, sameKey: boolean, changed: number): Decision | undefined {
    if (!row.initial && sameKey) return refuse('has joined, through another controller: node move');
    if (!row.initial) return refuse('has joined, with another initial key: node reset');
    if (orderState === 'closed')
      return refuse(`its order ${row.order} is closed for good, so that it cannot join: node remove, then import it again`);
    if (this.#changedBefore + changed < this.#maxChanges) return undefined;
    return refuse(`more than ${this.#maxChanges} nodes to change: import them in parts`);
  }

  /** Refuses a node that would have the key of another one. */
  #sharedKey(i: number): Decision | undefined {
    if (this.#repeated.size === 0) return undefined;
    const holders = this.#repeated.get(identityOf(this.#identityOf(i)));
    const other = holders?.find(({ idI }) => idI !== this.#batch.idI(i));
    if (other === undefined) return undefined;
    const where = other.line === undefined ? `of order ${other.order} in the registry` : `in line ${other.line}`;
    return { ...refuse(`its initial key is that of node ${formatId(other.idI)} ${where}, too`), sharedKey: true };
  }

  #identityOf(i: number): Buffer {
    const ik = this.#batch.ik(i);
    const octets = Buffer.from(this.#identify(ik));
    ik.wipe();
    return octets;
  }
}

function refuse(reason: string): Decision {
  return { verdict: 'reject', reason };
}

function changeOf(row: NodeRow, idC: number, sameKey: boolean): Decision {
  const [from, to] = [formatId(row.controller), formatId(idC)];
  const changes = [...(sameKey ? [] : ['another key']), ...(from === to ? [] : [`controller ${from} -> ${to}`])];
  const move = from === to ? {} : { move: `from ${from} to ${to}` };
  return { verdict: 'change', reason: changes.join(', '), judged: row, ...move };
}

function hasOtherTexts(found: Snapshot, batch: NodeBatch, i: number): boolean {
  const texts = batch.description(i);
  return texts !== undefined && changedDescription(found.nodeDescription(batch.idI(i)), texts) !== undefined;
}

/** In what two lines about one node differ. */
function differencesOf(batch: NodeBatch, i: number, j: number): string[] {
  return [...(batch.isSameKey(i, j) ? [] : ['initial key']), ...(batch.idC(i) === batch.idC(j) ? [] : ['controller'])];
}
