/**
 * All nodes of a registry in columns, so that listing or counting a million of them takes
 * milliseconds. The index holds no key and does not know the source of its rows. Its owner inserts
 * each new or changed row, and removes each deleted one.
 */

import { expiryOf } from '@latchkey/protocol';
import {
  type ExpiryCounts,
  foldText,
  intervalOf,
  isAfterCursor,
  type NodeCounts,
  type NodeCursor,
  type NodeFilter,
  type NodeGroups,
  type NodeListPage,
  type NodeListQuery,
  type NodeSort,
  type NodeTally,
} from '../model/node-query.js';
import { NODE_STATES, renewalDue } from '../model/node-status.js';
import type { NodeDescription, NodeRow, OrderRow } from '../model/rows.js';
import {
  ALIVE,
  COMMITTED,
  compacted,
  DISABLED,
  INITIAL,
  INITIAL_SHIFT,
  merged,
  NodeColumns,
  type NodeFields,
  type SavedColumns,
  stateOf,
} from './columns.js';
import { Dictionary } from './dictionary.js';
import { digitsOf, hasDigits } from './id-digits.js';
import { searchedText, type SavedTexts, TextStore } from './text-store.js';

/** In place of a record: the text store was full. */
const NOT_KEPT = 0xffff_ffff;
/** Rows without a node, records without a node, and values without a node that may be kept. */
const SPARE = 4_096;

/** Pages that are collected before they are reduced to the best one. */
const KEPT_PAGES = 4;

interface Part {
  readonly from: number;
  readonly most: number;
}
const ALL: Part = { from: 0, most: Infinity };

/** Places of rows in ascending order. */
interface Selection {
  /** `undefined` means all places from `start` on, which need no list. */
  readonly places: Uint32Array | undefined;
  readonly start: number;
  readonly length: number;
}

const BY_ID: NodeSort = { by: 'id' };

/** How rows are tested by a text. */
interface Search {
  /** Digits that an ID may have. */
  readonly digits: Int32Array | undefined;
  /** `undefined` if no description, site or tag contains the text. */
  readonly isInText: ((at: number) => boolean) | undefined;
}
const NO_SEARCH: Search = { digits: undefined, isInText: undefined };

/** Data of an order. A node of an unpublished order is visible to no caller. */
interface IndexedOrder {
  readonly number: number;
  isPublished: boolean;
  installer: string;
  site: number;
}

/** All of an index, as plain data: octets in arrays, which are not copied. */
export interface SavedIndex {
  readonly rows: SavedColumns;
  readonly orders: readonly Readonly<IndexedOrder>[];
  readonly controllers: readonly number[];
  readonly sites: readonly string[];
  readonly tags: readonly (readonly string[])[];
  readonly texts: SavedTexts;
}

/** Reads texts that did not fit into the text store. */
export type ReadDescription = (idI: number) => NodeDescription | undefined;

export class NodeIndex {
  readonly #readDescription: ReadDescription;
  /** In ascending order of ID. */
  #rows = new NodeColumns();
  /** Rows that are not in their place yet, and where each node is among them. */
  #added = new NodeColumns();
  readonly #addedPlaces = new Map<number, number>();
  #removed = 0;
  readonly #orders: Dictionary<IndexedOrder>;
  readonly #controllers: Dictionary<number>;
  readonly #sites: Dictionary<string>;
  readonly #tags: Dictionary<readonly string[]>;
  readonly #texts: TextStore;
  #latestSearch: { readonly wanted: string; readonly isRecord: Uint8Array } | undefined;
  /** Places of rows that match. */
  #selection = new Uint32Array();

  /** @param saved what an index was; by itself it is empty */
  constructor(readDescription: ReadDescription, saved?: SavedIndex, maxTextOctets?: number) {
    this.#readDescription = readDescription;
    this.#orders = new Dictionary(({ number }) => number, saved?.orders);
    this.#controllers = new Dictionary((idC) => idC, saved?.controllers);
    this.#sites = new Dictionary((site) => site, saved?.sites);
    this.#tags = new Dictionary((tags) => tags.join('\n'), saved?.tags);
    this.#texts = saved === undefined ? new TextStore(maxTextOctets) : TextStore.from(saved.texts);
    if (saved === undefined) return;
    this.#rows = NodeColumns.from(saved.rows);
    this.#removed = saved.rows.flags.filter((flags) => (flags & ALIVE) === 0).length;
  }

  /** As of now: it is no copy, and changes with the index. */
  get saved(): SavedIndex {
    this.settle();
    return {
      rows: this.#rows.saved,
      orders: this.#orders.values,
      controllers: this.#controllers.values,
      sites: this.#sites.values,
      tags: this.#tags.values,
      texts: this.#texts.saved,
    };
  }

  get length(): number {
    return this.#rows.length;
  }

  /**
   * True if the index should be rebuilt, because much of it belongs to former rows. Values and
   * texts that no node uses any more are not freed.
   */
  get isWorn(): boolean {
    const most = 4 * this.#rows.length + SPARE;
    return this.#texts.records > most || this.#tags.size > most || this.#sites.size > most;
  }

  isPublished(number: number): boolean {
    return this.#order(number)?.isPublished === true;
  }

  /** `row`: `undefined` if the order is not there. */
  putOrder(number: number, row: Pick<OrderRow, 'state' | 'installer' | 'site'> | undefined): void {
    const order = this.#orderOf(number);
    order.isPublished = row !== undefined && row.state !== 'pending';
    order.installer = row?.installer ?? '';
    order.site = row?.site === undefined ? 0 : this.#sites.number(row.site);
  }

  put(idI: number, row: NodeRow, description: NodeDescription | undefined): void {
    const fields = this.#fieldsOf(idI, row, description);
    const last = this.#rows.length === 0 ? -1 : (this.#rows.ids[this.#rows.length - 1] ?? 0);
    if (idI > last && this.#added.length === 0) {
      this.#rows.push(fields);
      return;
    }
    const place = this.#find(idI);
    if (place === undefined) {
      this.#addedPlaces.set(idI, this.#added.push(fields));
      return;
    }
    const [rows, at] = place;
    if (!rows.isAlive(at)) this.#removed -= 1;
    rows.set(at, fields);
  }

  remove(idI: number): void {
    const place = this.#find(idI);
    if (place !== undefined) this.#removeAt(...place);
  }

  /** Puts rows that were added into their places, which takes milliseconds. */
  settle(): void {
    if (this.#added.length > 0) {
      this.#rows = merged(this.#rows, this.#added);
      this.#added = new NodeColumns();
      this.#addedPlaces.clear();
    }
    if (this.#removed <= SPARE || this.#removed * 4 <= this.#rows.length) return;
    this.#rows = compacted(this.#rows);
    this.#removed = 0;
  }

  list({ filter, now, sort = BY_ID, after, limit, counted = false }: NodeListQuery): NodeListPage {
    const isById = sort.by === 'id' && sort.descending !== true;
    // Without counting, a page costs only the rows that it passes, and all pages together cost one
    // pass.
    const selected =
      isById && !counted
        ? this.#select(filter, now, { from: after === undefined ? 0 : after.idI + 1, most: limit + 1 })
        : this.#select(filter, now);
    const page = isById ? this.#pageById(selected, after, limit) : this.#sorted(selected, sort, after, limit);
    return { ...page, total: counted ? selected.length : undefined };
  }

  counts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): NodeCounts<G> {
    const selected = this.#select(filter, now);
    // Of each group: those that joined, then those that did not.
    const tallies = by === 'state' ? this.#tallyStates(selected, now) : this.#tally(selected, by);
    const counts = new Map<NodeGroups[G], NodeTally>();
    for (let group = 0; 2 * group < tallies.length; group++) {
      const [joined = 0, initial = 0] = [tallies[2 * group], tallies[2 * group + 1]];
      if (joined + initial > 0) counts.set(this.#groupKey(by, group) as NodeGroups[G], { nodes: joined + initial, joined });
    }
    return counts;
  }

  expiries(filter: NodeFilter, now: number, edges: readonly number[]): ExpiryCounts {
    const selected = this.#select(filter, now);
    const { expiry } = this.#rows;
    const counts = new Uint32Array(edges.length - 1);
    for (let i = 0; i < selected.length; i++) {
      const interval = intervalOf(expiry[placeOf(selected, i)] ?? Infinity, edges);
      if (interval !== -1) counts[interval] = (counts[interval] ?? 0) + 1;
    }
    return [...counts];
  }

  #order(number: number): IndexedOrder | undefined {
    const known = this.#orders.find({ number } as IndexedOrder);
    return known === undefined ? undefined : this.#orders.value(known);
  }

  #orderOf(number: number): IndexedOrder {
    const known = this.#order(number);
    if (known !== undefined) return known;
    const order = { number, isPublished: false, installer: '', site: 0 };
    this.#orders.number(order);
    return order;
  }

  #find(idI: number): readonly [rows: NodeColumns, at: number] | undefined {
    const at = this.#rows.find(idI);
    if (at !== -1) return [this.#rows, at];
    const addedAt = this.#addedPlaces.get(idI);
    return addedAt === undefined ? undefined : [this.#added, addedAt];
  }

  #removeAt(rows: NodeColumns, at: number): void {
    if (!rows.isAlive(at)) return;
    rows.flags[at] = 0;
    this.#removed += 1;
  }

  #fieldsOf(idI: number, row: NodeRow, description: NodeDescription | undefined): NodeFields {
    const { committed, disabled, initial } = row;
    const commit = committed && { committed: { ...committed, tid: 0n } };
    const { site, tags = [] } = description ?? {};
    return {
      ids: idI,
      orders: this.#orders.number(this.#orderOf(row.order)),
      controllers: this.#controllers.number(row.controller),
      flags: ALIVE | (disabled === true ? DISABLED : 0) | (initial ? INITIAL : 0) | (committed === undefined ? 0 : COMMITTED),
      expiry: (commit && expiryOf(commit)) ?? Infinity,
      renewalDue: commit === undefined ? Infinity : renewalDue(commit),
      committedAt: committed?.at ?? -Infinity,
      joinedAt: row.joinedAt ?? Infinity,
      sites: site === undefined ? 0 : this.#sites.number(site),
      tags: tags.length === 0 ? 0 : this.#tags.number(tags),
      texts: this.#recordOf(idI, description),
    };
  }

  /** The record that the node has already, if its text is the same: joins change none. */
  #recordOf(idI: number, description: NodeDescription | undefined): number {
    const text = searchedText(description);
    if (text === '') return 0;
    const place = this.#find(idI);
    const before = place === undefined ? 0 : (place[0].texts[place[1]] ?? 0);
    if (before !== 0 && before !== NOT_KEPT && this.#texts.isSame(before, text)) return before;
    return this.#texts.add(text) ?? NOT_KEPT;
  }

  /**
   * Returns the places of the rows that match, in ascending order of ID; valid until the next call.
   *
   * @param from the first ID to check
   * @param most maximum of places, after which the search stops
   */
  #select(filter: NodeFilter, now: number, { from, most }: Part = ALL): Selection {
    this.settle();
    const rows = this.#rows;
    if (this.#isAll(filter)) {
      const start = rows.firstFrom(from);
      return { places: undefined, start, length: Math.min(rows.length - start, most) };
    }
    const { ids, orders, controllers, flags, expiry, renewalDue: due, committedAt, sites, tags } = rows;
    const { states, hasJoined, expiringBefore, expiringFrom, joinedSince = -Infinity, idRange = [0, 0xffff_ffff] } = filter;
    const isOrder = this.#orders.select((order) => isOrderMatch(order, filter));
    const isController = filter.controllers && this.#controllers.select((idC) => filter.controllers?.includes(idC) === true);
    const isSite = filter.sites && this.#sites.select((site) => filter.sites?.includes(site) === true);
    const isTagged = filter.tags && this.#tags.select((all) => all.some((tag) => filter.tags?.includes(tag) === true));
    const siteOfOrder = this.#siteOfOrder();
    const isSearch = filter.search !== undefined && filter.search !== '';
    const { digits, isInText }: Search = isSearch ? this.#search(filter.search, siteOfOrder) : NO_SEARCH;
    const isState = states && Uint8Array.from(NODE_STATES, (state) => (states.includes(state) ? 1 : 0));
    const initial = hasJoined === undefined ? undefined : hasJoined ? 0 : INITIAL;
    if (this.#selection.length < rows.length) this.#selection = new Uint32Array(rows.ids.length);
    const selection = this.#selection;
    const end = idRange[1] >= 0xffff_ffff ? rows.length : rows.firstFrom(idRange[1] + 1);
    let count = 0;
    for (let at = rows.firstFrom(Math.max(idRange[0], from)); at < end && count < most; at++) {
      const flag = flags[at] ?? 0;
      if ((flag & ALIVE) === 0) continue;
      const order = orders[at] ?? 0;
      if (isOrder[order] === 0) continue;
      if (isController !== undefined && isController[controllers[at] ?? 0] === 0) continue;
      if (initial !== undefined && (flag & INITIAL) !== initial) continue;
      if (isState !== undefined && isState[stateOf(flag, expiry[at] ?? 0, due[at] ?? 0, now)] === 0) continue;
      if (expiringBefore !== undefined && (expiry[at] ?? 0) >= expiringBefore) continue;
      // Infinity means none.
      if (expiringFrom !== undefined && !((expiry[at] ?? 0) >= expiringFrom && expiry[at] !== Infinity)) continue;
      if ((committedAt[at] ?? 0) < joinedSince) continue;
      if (isTagged !== undefined && isTagged[tags[at] ?? 0] === 0) continue;
      if (isSite !== undefined) {
        const own = sites[at] ?? 0;
        if (isSite[own === 0 ? (siteOfOrder[order] ?? 0) : own] === 0) continue;
      }
      if (isSearch && (digits === undefined || !hasDigits(ids[at] ?? 0, digits)) && isInText?.(at) !== true) continue;
      selection[count++] = at;
    }
    return { places: selection, start: 0, length: count };
  }

  /** Returns true if a filter selects every row. */
  #isAll(filter: NodeFilter): boolean {
    if (this.#removed > 0 || Object.values(filter).some((part) => part !== undefined)) return false;
    return this.#orders.values.every(({ isPublished }) => isPublished);
  }

  /** For each order, by its number in the dictionary. */
  #siteOfOrder(): Uint32Array {
    const result = new Uint32Array(this.#orders.size + 1);
    for (let i = 1; i <= this.#orders.size; i++) result[i] = this.#orders.value(i)?.site ?? 0;
    return result;
  }

  #search(text: string, siteOfOrder: Uint32Array): Search {
    const wanted = foldText(text);
    const rows = this.#rows;
    const { ids, orders, sites, tags, texts } = rows;
    const isSite = this.#sites.select((site) => foldText(site).includes(wanted));
    const isTagged = this.#tags.select((all) => all.some((tag) => foldText(tag).includes(wanted)));
    const isRecord = this.#searchTexts(wanted);
    const isInText = (at: number): boolean => {
      const own = sites[at] ?? 0;
      const record = texts[at] ?? 0;
      return (
        isRecord[record] === 1 ||
        isTagged[tags[at] ?? 0] === 1 ||
        isSite[own === 0 ? (siteOfOrder[orders[at] ?? 0] ?? 0) : own] === 1 ||
        (record === NOT_KEPT && searchedText(this.#readDescription(ids[at] ?? 0)).includes(wanted))
      );
    };
    // Digits of an ID are seldom part of a text, and then texts need not be searched.
    const mayBeInText =
      [isSite, isTagged, isRecord].some((found) => found.includes(1)) || texts.subarray(0, rows.length).includes(NOT_KEPT);
    return { digits: digitsOf(wanted), isInText: mayBeInText ? isInText : undefined };
  }

  /** For each record, 1 if it contains the text. Pages of one search follow each other. */
  #searchTexts(wanted: string): Uint8Array {
    const { records } = this.#texts;
    if (this.#latestSearch?.wanted === wanted && this.#latestSearch.isRecord.length === records + 1)
      return this.#latestSearch.isRecord;
    const isRecord = new Uint8Array(records + 1);
    this.#texts.search(wanted, (record) => {
      isRecord[record] = 1;
    });
    this.#latestSearch = { wanted, isRecord };
    return isRecord;
  }

  #pageById(selected: Selection, after: NodeCursor | undefined, limit: number): Omit<NodeListPage, 'total'> {
    const { ids } = this.#rows;
    let start = 0;
    for (let high = after === undefined ? 0 : selected.length; start < high;) {
      const middle = (start + high) >>> 1;
      if ((ids[placeOf(selected, middle)] ?? 0) <= (after?.idI ?? -1)) start = middle + 1;
      else high = middle;
    }
    const count = Math.min(limit, selected.length - start);
    const page = Array.from({ length: count }, (_, i) => ids[placeOf(selected, start + i)] ?? 0);
    const last = page.at(-1);
    const hasMore = last !== undefined && selected.length > start + limit;
    return { ids: page, next: hasMore ? { value: last, idI: last } : undefined };
  }

  /** Collects the first rows during one pass, because sorting all would take half a second. */
  #sorted(selected: Selection, sort: NodeSort, after: NodeCursor | undefined, limit: number): Omit<NodeListPage, 'total'> {
    const { ids, expiry, joinedAt } = this.#rows;
    const column = sort.by === 'id' ? ids : sort.by === 'expires_at' ? expiry : joinedAt;
    // Infinity means none.
    const sign = sort.descending === true ? -1 : 1;
    const valueAt = (at: number): number => {
      const value = column[at] ?? Infinity;
      return value === Infinity ? value : sign * value;
    };
    const compare = (a: number, b: number): number => compareNumbers(valueAt(a), valueAt(b)) || a - b;
    // One more than the page, to detect whether more rows follow.
    const most = limit + 1;
    let best: number[] = [];
    // One with a higher value than this does not come into the page.
    let worst = Infinity;
    for (let i = 0; i < selected.length; i++) {
      const at = placeOf(selected, i);
      const value = valueAt(at);
      if (value > worst || (after !== undefined && !isAfterCursor(value, ids[at] ?? 0, after, sort))) continue;
      best.push(at);
      if (best.length < KEPT_PAGES * most) continue;
      best = best.toSorted(compare).slice(0, most);
      worst = valueAt(best.at(-1) ?? 0);
    }
    best = best.toSorted(compare);
    const page = best.slice(0, limit);
    const last = page.at(-1);
    if (last === undefined || best.length <= limit) return { ids: page.map((at) => ids[at] ?? 0), next: undefined };
    const value = column[last] ?? Infinity;
    return { ids: page.map((at) => ids[at] ?? 0), next: { value: value === Infinity ? null : value, idI: ids[last] ?? 0 } };
  }

  #tallyStates(selected: Selection, now: number): Uint32Array {
    const { flags, expiry, renewalDue: due } = this.#rows;
    const { places, start, length } = selected;
    const tallies = new Uint32Array(2 * NODE_STATES.length);
    for (let i = 0; i < length; i++) {
      const at = places === undefined ? start + i : (places[i] ?? 0);
      const flag = flags[at] ?? 0;
      const place = 2 * stateOf(flag, expiry[at] ?? 0, due[at] ?? 0, now) + ((flag & INITIAL) >>> INITIAL_SHIFT);
      tallies[place] = (tallies[place] ?? 0) + 1;
    }
    return tallies;
  }

  #tally(selected: Selection, by: 'order' | 'controller' | 'site'): Uint32Array {
    const { orders, controllers, sites, flags } = this.#rows;
    const { column, values } = {
      order: { column: orders, values: this.#orders },
      controller: { column: controllers, values: this.#controllers },
      site: { column: sites, values: this.#sites },
    }[by];
    const siteOfOrder = by === 'site' ? this.#siteOfOrder() : undefined;
    const { places, start, length } = selected;
    const tallies = new Uint32Array(2 * (values.size + 1));
    for (let i = 0; i < length; i++) {
      const at = places === undefined ? start + i : (places[i] ?? 0);
      let group = column[at] ?? 0;
      if (group === 0 && siteOfOrder !== undefined) group = siteOfOrder[orders[at] ?? 0] ?? 0;
      const place = 2 * group + (((flags[at] ?? 0) & INITIAL) >>> INITIAL_SHIFT);
      tallies[place] = (tallies[place] ?? 0) + 1;
    }
    return tallies;
  }

  #groupKey(by: keyof NodeGroups, group: number): NodeGroups[keyof NodeGroups] | undefined {
    switch (by) {
      case 'state':
        return NODE_STATES[group];
      case 'order':
        return this.#orders.value(group)?.number;
      case 'controller':
        return this.#controllers.value(group);
      case 'site':
        return this.#sites.value(group) ?? null;
    }
  }
}

function isOrderMatch({ number, isPublished, installer }: IndexedOrder, filter: NodeFilter): boolean {
  if (!isPublished) return false;
  if (filter.orders?.includes(number) === false) return false;
  return filter.installer === undefined || installer === filter.installer;
}

function placeOf({ places, start }: Selection, i: number): number {
  return places === undefined ? start + i : (places[i] ?? 0);
}

function compareNumbers(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
