/** The state of a page is its URL: it can be reloaded, bookmarked and sent to a colleague. */

import type { NodeStatus } from '@latchkey/operations/contract';
import { nodeOfLabel } from '@latchkey/provisioning/label-text';
import { holdsKey } from './pasted-key.js';

export type Page = 'overview' | 'nodes' | 'orders' | 'order' | 'controllers' | LaterPage;
/** Pages that the menu of the user leads to. */
export type MenuPage = 'jobs' | 'calendar' | 'exposure' | 'installers' | 'users' | 'tokens' | 'account';
/** Pages that are loaded when somebody opens one. */
export type LaterPage = 'waiting' | 'audit' | 'new-order' | 'install' | 'code' | MenuPage;

const PAGE_OF_PATH: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['/', 'overview'],
  ['/nodes', 'nodes'],
  ['/orders', 'orders'],
  ['/controllers', 'controllers'],
  ['/waiting', 'waiting'],
  ['/audit', 'audit'],
  ['/orders/new', 'new-order'],
  ['/install', 'install'],
  ['/installers', 'installers'],
  ['/jobs', 'jobs'],
  ['/calendar', 'calendar'],
  ['/exposure', 'exposure'],
  ['/users', 'users'],
  ['/tokens', 'tokens'],
  ['/account', 'account'],
  ['/code', 'code'],
]);

/** Where one-time links lead. Anybody who is not signed in sees the sign-in at every path. */
export const SIGN_IN_PATH = '/sign-in';

/** Returns `undefined` for a path that is no page. */
export function pageOf(path: string): Page | undefined {
  return PAGE_OF_PATH.get(path) ?? (orderOf(path) === undefined ? undefined : 'order');
}

/** The page that the navigation marks: that of the list where one of it is shown. */
export function sectionOf(page: Page | undefined): Page | undefined {
  return page === 'order' || page === 'new-order' ? 'orders' : page;
}

/** The node that is being installed, on the page for that. */
export function readInstalledNode(query: URLSearchParams): string | undefined {
  const id = query.get('id') ?? '';
  return ID.test(id) ? id : undefined;
}

/** The number of the order whose page it is. */
export function orderOf(path: string): string | undefined {
  return /^\/orders\/([1-9]\d{0,9})$/.exec(path)?.[1];
}

/** In the order in which people look at them. */
export const NODE_STATES: readonly NodeStatus[] = ['joined', 'expiring', 'expired', 'enrolled', 'disabled'];

const ID = /^[0-9a-f]{8}$/;
const ID_START = /^[0-9a-f]{1,8}$/;
const NUMBER = /^[1-9]\d{0,9}$/;
const DAY_MS = 86_400_000;
/** Days and weeks of the calendar: four months, and two years. */
const CALENDAR_LENGTH = { day: 120, week: 104 } as const;
/** Maximum characters of a search text. The API rejects a field that is too long. */
const MAX_TEXT = 128;

export interface NodeFilters {
  readonly state: readonly NodeStatus[];
  readonly order: readonly string[];
  readonly controller: readonly string[];
  readonly neverJoined: boolean;
  /** Keys that expire within so many days. */
  readonly expiresInDays: number | undefined;
  /** Keys that expire between two times, as the calendar names them. */
  readonly expires: ExpiryRange | undefined;
  /** First digits of the ID. */
  readonly starts: string;
  readonly site: readonly string[];
  readonly tag: readonly string[];
  /** Text in what people know of a node, or in its ID. */
  readonly q: string;
}

/** ISO times. `null`: whatever comes before, or after. */
export interface ExpiryRange {
  readonly from: string | null;
  readonly before: string | null;
}

/** Drops what is not valid: a URL may come from anywhere. */
export function readNodeFilters(query: URLSearchParams): NodeFilters {
  const days = query.get('expires_in_days') ?? '';
  const starts = (query.get('starts') ?? '').trim().toLowerCase();
  const states = new Set<string>(query.getAll('state'));
  const [from, before] = [timeOf(query, 'expires_from'), timeOf(query, 'expires_before')];
  return {
    state: NODE_STATES.filter((state) => states.has(state)),
    order: query.getAll('order').filter((order) => NUMBER.test(order)),
    controller: query.getAll('controller').filter((id) => ID.test(id)),
    neverJoined: query.get('never_joined') === 'true',
    expiresInDays: /^\d{1,4}$/.test(days) ? Number(days) : undefined,
    expires: from === null && before === null ? undefined : { from, before },
    starts: ID_START.test(starts) ? starts : '',
    site: textsOf(query, 'site'),
    tag: textsOf(query, 'tag'),
    q: textsOf(query, 'q')[0] ?? '',
  };
}

function timeOf(query: URLSearchParams, name: string): string | null {
  const text = query.get(name) ?? '';
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !Number.isNaN(Date.parse(text)) ? text : null;
}

function textsOf(query: URLSearchParams, name: string): readonly string[] {
  return query
    .getAll(name)
    .map((text) => text.trim())
    .filter((text) => text !== '' && !holdsKey(text))
    .map((text) => text.slice(0, MAX_TEXT));
}

/** The query of a page with these filters. It begins with the first page of the list. */
export function writeNodeFilters(filters: NodeFilters): URLSearchParams {
  const { state, order, controller, neverJoined, expiresInDays, expires, starts, site, tag, q } = filters;
  const query = new URLSearchParams();
  for (const one of state) query.append('state', one);
  for (const one of order) query.append('order', one);
  for (const one of controller) query.append('controller', one);
  if (neverJoined) query.set('never_joined', 'true');
  if (expiresInDays !== undefined) query.set('expires_in_days', String(expiresInDays));
  if (expires?.from !== undefined && expires.from !== null) query.set('expires_from', expires.from);
  if (expires?.before !== undefined && expires.before !== null) query.set('expires_before', expires.before);
  if (starts !== '') query.set('starts', starts);
  for (const one of site) query.append('site', one);
  for (const one of tag) query.append('tag', one);
  if (q !== '') query.set('q', q);
  return query;
}

/** Filters of nodes that are typed, as text fields have them. */
export interface TypedFilters {
  readonly q: string;
  readonly site: string;
  readonly tag: string;
  readonly order: string;
  readonly controller: string;
  readonly starts: string;
}

export function typedFiltersOf({ q, site, tag, order, controller, starts }: NodeFilters): TypedFilters {
  return {
    q,
    site: site.join(', '),
    tag: tag.join(', '),
    order: order.join(' '),
    controller: controller.join(' '),
    starts,
  };
}

/** Reads what was typed. `wrong` names the fields of which something cannot be read. */
export function readTypedFilters(typed: TypedFilters): {
  readonly filters: Pick<NodeFilters, keyof TypedFilters>;
  readonly wrong: readonly (keyof TypedFilters)[];
} {
  const wordsOf = (text: string): readonly string[] => text.split(/[\s,]+/).filter((word) => word !== '');
  const [orders, ids] = [wordsOf(typed.order), wordsOf(typed.controller).map((one) => one.toLowerCase().padStart(8, '0'))];
  const query = new URLSearchParams({ starts: typed.starts, q: typed.q });
  for (const [name, values] of [
    ['site', typed.site.split(',')],
    ['tag', typed.tag.split(',')],
    ['order', orders],
    ['controller', ids],
  ] as const)
    for (const value of values) query.append(name, value);
  const { q, site, tag, order, controller, starts } = readNodeFilters(query);
  const wrong: (keyof TypedFilters)[] = [];
  if (order.length < orders.length) wrong.push('order');
  if (controller.length < ids.length) wrong.push('controller');
  if (starts === '' && typed.starts.trim() !== '') wrong.push('starts');
  for (const field of ['q', 'site', 'tag'] as const) if (holdsKey(typed[field])) wrong.push(field);
  return { filters: { q, site, tag, order, controller, starts }, wrong };
}

/** The filters that the calendar supports. The others do not affect when a key expires. */
export function calendarFilters({ order, controller, site, tag }: NodeFilters): NodeFilters {
  return { ...readNodeFilters(new URLSearchParams()), order, controller, site, tag };
}

/** Request for the calendar: its days begin in the reader's time zone. */
export function calendarRequest(filters: NodeFilters, by: 'day' | 'week', timeZone: string): string {
  const query = writeNodeFilters(calendarFilters(filters));
  query.set('by', by);
  query.set('count', String(CALENDAR_LENGTH[by]));
  query.set('time_zone', timeZone);
  return `/v1/calendar?${query.toString()}`;
}

/** What the API is asked for about a day or a week of the calendar: its orders with most keys. */
export function calendarOrdersRequest(filters: NodeFilters, expires: ExpiryRange): string {
  const query = writeNodeFilters({ ...calendarFilters(filters), expires });
  return urlOf('/v1/calendar/orders', query);
}

/** What the API is asked for. A relative time is cut to the minute, so that pages agree on it. */
export function nodesRequest(filters: NodeFilters, after: string | null, limit: number, now: number): string {
  const query = writeNodeFilters({ ...filters, expiresInDays: undefined });
  if (filters.expiresInDays !== undefined) {
    const minute = 60_000;
    query.set('expires_before', new Date(Math.ceil(now / minute) * minute + filters.expiresInDays * DAY_MS).toISOString());
  }
  query.set('limit', String(limit));
  if (after !== null) query.set('after', after);
  return `/v1/nodes?${query.toString()}`;
}

export function hasFilters(filters: NodeFilters): boolean {
  return [...writeNodeFilters(filters)].length > 0;
}

/** Returns the query with these parameters replaced; `null` removes one. */
export function withParameters(query: URLSearchParams, changes: Readonly<Record<string, string | null>>): URLSearchParams {
  const changed = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) changed.delete(name);
    else changed.set(name, value);
  }
  return changed;
}

export function urlOf(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}

/** What somebody typed into the search box. */
export type Search =
  | { readonly kind: 'node'; readonly id: string }
  | { readonly kind: 'prefix'; readonly starts: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'empty' }
  /** It holds a key, and is searched for nowhere. */
  | { readonly kind: 'key' };

/**
 * IDs are pasted from labels, tickets and logs: with blanks, colons, `0x`, in capitals. A scanner
 * types a whole label.
 */
export function readSearch(typed: string): Search {
  const text = typed.replaceAll(/\p{Cf}/gu, '');
  const labelled = nodeOfLabel(text);
  if (labelled !== undefined) return { kind: 'node', id: labelled };
  if (holdsKey(text)) return { kind: 'key' };
  const digits = text
    .trim()
    .toLowerCase()
    .replace(/^0x/, '')
    .replaceAll(/[\s:-]/g, '');
  if (ID.test(digits)) return { kind: 'node', id: digits };
  // Two words are a name, whatever their letters are.
  if (ID_START.test(digits) && !/\s/.test(text.trim())) return { kind: 'prefix', starts: digits };
  const words = text.trim().slice(0, MAX_TEXT);
  return words === '' ? { kind: 'empty' } : { kind: 'text', text: words };
}

/** What the drawer shows. A node opens on every page, an order and a controller on theirs. */
export interface Opened {
  readonly kind: 'node' | 'order' | 'controller';
  readonly id: string;
}

/** Returns `undefined` if the URL names nothing to open. */
export function openedOf(path: string, query: URLSearchParams): Opened | undefined {
  const node = query.get('node') ?? '';
  if (ID.test(node)) return { kind: 'node', id: node };
  const id = query.get('open') ?? '';
  const page = pageOf(path);
  if (page === 'orders' && NUMBER.test(id)) return { kind: 'order', id };
  return page === 'controllers' && ID.test(id) ? { kind: 'controller', id } : undefined;
}

const WITHOUT_OPENED = new WeakMap<URLSearchParams, string>();

/** For another parameter to follow. A page has a link for each row, and one query. */
function withoutOpened(query: URLSearchParams): string {
  const found = WITHOUT_OPENED.get(query);
  if (found !== undefined) return found;
  const others = withParameters(query, { node: null, open: null }).toString();
  const text = others === '' ? '' : `${others}&`;
  WITHOUT_OPENED.set(query, text);
  return text;
}

/** The URL that opens it beside the page, or beside its own page. */
export function openUrl(path: string, query: URLSearchParams, { kind, id }: Opened): string {
  if (kind === 'node') return `${path}?${withoutOpened(query)}node=${id}`;
  const page = kind === 'order' ? '/orders' : '/controllers';
  return urlOf(page, withParameters(path === page ? query : new URLSearchParams(), { open: id, node: null }));
}

/** The token of a one-time link. It is in the fragment, which no browser sends to a server. */
export function linkTokenOf(path: string, fragment: string): string | undefined {
  const token = /^#link=(.+)$/.exec(fragment)?.[1];
  return path === SIGN_IN_PATH ? token : undefined;
}

/** What a sign-in provider sent the browser back with, as a query; `undefined` on other pages. */
export function providerAnswerOf(path: string, search: string): string | undefined {
  const values = new URLSearchParams(search);
  const isAnswer = path === SIGN_IN_PATH && values.has('state') && (values.has('code') || values.has('error'));
  return isAnswer ? search.slice(1) : undefined;
}

export interface AuditFilters {
  /** `node joined`; empty for every kind. */
  readonly what: string;
  readonly node: string;
  readonly actor: string;
}

export function readAuditFilters(query: URLSearchParams): AuditFilters {
  const node = (query.get('about') ?? '').trim().toLowerCase();
  const what = query.get('what') ?? '';
  return {
    what: /^[a-z -]{1,64}$/.test(what) ? what : '',
    node: ID.test(node) ? node : '',
    actor: textsOf(query, 'actor')[0] ?? '',
  };
}

/** `about` names a node: `node` is the one that the drawer shows. */
export function writeAuditFilters({ what, node, actor }: AuditFilters): URLSearchParams {
  const query = new URLSearchParams();
  if (what !== '') query.set('what', what);
  if (node !== '') query.set('about', node);
  if (actor !== '') query.set('actor', actor);
  return query;
}

export function auditRequest({ what, node, actor }: AuditFilters, after: string | null, limit: number): string {
  const query = new URLSearchParams({ limit: String(limit) });
  if (what !== '') query.set('what', what);
  if (node !== '') query.set('node', node);
  if (actor !== '') query.set('actor', actor);
  if (after !== null) query.set('after', after);
  return `/v1/audit?${query.toString()}`;
}
