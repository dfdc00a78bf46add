/** Lists and counts of nodes as SQL. The columns of `latchkey.nodes` are those of `NODES`. */

import {
  type ExpiryCounts,
  foldText,
  type NodeCounts,
  type NodeFilter,
  type NodeGroups,
  type NodeListPage,
  type NodeListQuery,
  type NodeSort,
  type NodeTally,
} from '../model/node-query.js';
import { ask } from './audit-table.js';
import type { Statement } from './connection.js';
import type { Engine } from './engine.js';

const EXPIRY = 'CASE WHEN n.committed_lifetime > 0 THEN n.committed_ts + 1000 * n.committed_lifetime END';
const SITE = 'coalesce(d.site, o.site)';
const FROM = `FROM latchkey.nodes n JOIN latchkey.orders o ON o.number = n.order_number AND o.state <> 'pending'`;
const DESCRIBED = 'LEFT JOIN latchkey.node_descriptions d ON d.id = n.id';
const COUNT = 'count(*)::bigint AS nodes, count(*) FILTER (WHERE NOT n.initial)::bigint AS joined';

/** Collects conditions, and the values that they name. */
class Conditions {
  readonly values: unknown[] = [];
  readonly #texts: string[] = [];
  needsDescriptions = false;

  /** `text`: with the parameter in place of each `?`, if a value is given. */
  add(text: string, value?: unknown): void {
    this.#texts.push(value === undefined ? text : text.replaceAll('?', this.parameter(value)));
  }

  parameter(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  /** What rows are taken from, and which of them. */
  get source(): string {
    const tables = this.needsDescriptions ? `${FROM} ${DESCRIBED}` : FROM;
    return this.#texts.length === 0 ? tables : `${tables} WHERE ${this.#texts.join(' AND ')}`;
  }
}

export async function listNodes(engine: Engine, query: NodeListQuery): Promise<NodeListPage> {
  const { filter, now, sort = { by: 'id' }, limit, counted = false } = query;
  const [rows, totals] = await Promise.all([
    ask(engine, pageStatement(query, sort)),
    counted ? ask(engine, totalStatement(filter, now)) : undefined,
  ]);
  const page = (rows as readonly { readonly id: number; readonly value: number | null }[]).slice(0, limit);
  const last = page.at(-1);
  return {
    ids: page.map(({ id }) => id),
    next: last === undefined || rows.length <= limit ? undefined : { value: last.value, idI: last.id },
    total: totals && ((totals[0]?.['nodes'] as number | undefined) ?? 0),
  };
}

export async function countNodes<G extends keyof NodeGroups>(
  engine: Engine,
  filter: NodeFilter,
  now: number,
  by: G,
): Promise<NodeCounts<G>> {
  const conditions = conditionsOf(filter, now);
  if (by === 'site') conditions.needsDescriptions = true;
  const group = {
    state: () => stateSql(conditions, now),
    order: () => 'n.order_number',
    controller: () => 'n.controller',
    site: () => SITE,
  };
  const text = `SELECT ${group[by]()} AS key, ${COUNT} ${conditions.source} GROUP BY 1`;
  const rows = await ask(engine, { text, values: conditions.values });
  return new Map(
    rows.map(({ key, nodes, joined }): readonly [NodeGroups[G], NodeTally] => [
      key as NodeGroups[G],
      { nodes: nodes as number, joined: joined as number },
    ]),
  );
}

export async function countExpiries(
  engine: Engine,
  filter: NodeFilter,
  now: number,
  edges: readonly number[],
): Promise<ExpiryCounts> {
  const conditions = conditionsOf(filter, now);
  const interval = `width_bucket((${EXPIRY})::double precision, ${conditions.parameter(edges)}::double precision[])`;
  const text = `SELECT ${interval} AS interval, count(*)::bigint AS nodes ${conditions.source} GROUP BY 1`;
  const counts = Array.from({ length: edges.length - 1 }, () => 0);
  for (const { interval: number, nodes } of await ask(engine, { text, values: conditions.values }))
    // 0 is before the first edge, and the number of edges is from the last one on.
    if (number !== null && Number(number) > 0 && Number(number) < edges.length) counts[Number(number) - 1] = nodes as number;
  return counts;
}

/** Fetches one row more than the page, to detect whether more rows follow. */
function pageStatement({ filter, now, after, limit }: NodeListQuery, { by, descending = false }: NodeSort): Statement {
  const conditions = conditionsOf(filter, now);
  const value = { id: 'n.id', expires_at: EXPIRY, joined_at: 'n.joined_at' }[by];
  const [isNext, direction] = descending ? ['<', 'DESC'] : ['>', 'ASC'];
  if (after !== undefined) {
    const idI = conditions.parameter(after.idI);
    if (by === 'id') conditions.add(`n.id ${isNext} ${idI}`);
    else if (after.value === null) conditions.add(`(${value}) IS NULL AND n.id > ${idI}`);
    else {
      const last = conditions.parameter(after.value);
      conditions.add(
        `((${value}) ${isNext} ${last}::bigint OR ((${value}) = ${last}::bigint AND n.id > ${idI}) OR (${value}) IS NULL)`,
      );
    }
  }
  const order = by === 'id' ? `n.id ${direction}` : `value ${direction} NULLS LAST, n.id`;
  const text = `SELECT n.id AS id, (${value})::bigint AS value ${conditions.source} ORDER BY ${order} LIMIT ${limit + 1}`;
  return { text, values: conditions.values };
}

function totalStatement(filter: NodeFilter, now: number): Statement {
  const conditions = conditionsOf(filter, now);
  return { text: `SELECT count(*)::bigint AS nodes ${conditions.source}`, values: conditions.values };
}

/** The state of a node in a word, as `nodeState`. */
function stateSql(conditions: Conditions, now: number): string {
  const at = `${conditions.parameter(now)}::double precision`;
  return `CASE WHEN n.disabled THEN 'disabled' WHEN n.committed_ts IS NULL THEN 'enrolled'
    WHEN n.committed_lifetime = 0 THEN 'joined'
    WHEN ${at} > n.committed_ts + 1000 * n.committed_lifetime THEN 'expired'
    WHEN ${at} > n.committed_ts + 880 * n.committed_lifetime THEN 'expiring' ELSE 'joined' END`;
}

function conditionsOf(filter: NodeFilter, now: number): Conditions {
  const { states, orders, controllers, installer, hasJoined, expiringBefore, joinedSince, idRange, sites, tags, search } = filter;
  const conditions = new Conditions();
  if (idRange !== undefined)
    conditions.add(`n.id BETWEEN ${conditions.parameter(idRange[0])} AND ${conditions.parameter(idRange[1])}`);
  if (orders !== undefined) conditions.add('n.order_number = ANY(?::bigint[])', orders);
  if (controllers !== undefined) conditions.add('n.controller = ANY(?::bigint[])', controllers);
  if (installer !== undefined) conditions.add('o.installer = ?', installer);
  if (hasJoined !== undefined) conditions.add(hasJoined ? 'NOT n.initial' : 'n.initial');
  if (expiringBefore !== undefined) conditions.add(`(${EXPIRY}) < ?::double precision`, expiringBefore);
  if (filter.expiringFrom !== undefined) conditions.add(`(${EXPIRY}) >= ?::double precision`, filter.expiringFrom);
  if (joinedSince !== undefined) conditions.add('n.committed_at >= ?::double precision', joinedSince);
  if (states !== undefined) conditions.add(`(${stateSql(conditions, now)}) = ANY(?::text[])`, states);
  conditions.needsDescriptions = sites !== undefined || tags !== undefined || search !== undefined;
  if (sites !== undefined) conditions.add(`${SITE} = ANY(?::text[])`, sites);
  if (tags !== undefined) conditions.add(`d.tags ?| ${conditions.parameter(tags)}::text[]`);
  if (search !== undefined && search !== '') {
    const wanted = conditions.parameter(foldText(search));
    conditions.add(
      `(strpos(d.searched, ${wanted}) > 0 OR strpos(lpad(to_hex(n.id), 8, '0'), ${wanted}) > 0 OR (d.site IS NULL AND strpos(o.site_searched, ${wanted}) > 0))`,
    );
  }
  return conditions;
}
