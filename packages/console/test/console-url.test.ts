// The state of a page in its URL, what the API is asked for, and what somebody types.

import { describe, expect, it } from 'vitest';
import {
  auditRequest,
  calendarOrdersRequest,
  calendarRequest,
  hasFilters,
  linkTokenOf,
  providerAnswerOf,
  nodesRequest,
  type Opened,
  openedOf,
  openUrl,
  pageOf,
  readAuditFilters,
  readNodeFilters,
  readSearch,
  readTypedFilters,
  urlOf,
  withParameters,
  writeAuditFilters,
  writeNodeFilters,
} from '../src/url-state.js';

describe('filters of nodes', () => {
  it('are the same after a way through the URL', () => {
    const query =
      'state=joined&state=expired&order=3&order=12&controller=00000002&never_joined=true&expires_in_days=30&starts=7a3&site=North&tag=pump&tag=old&q=hall+N';
    const filters = readNodeFilters(new URLSearchParams(query));
    expect(writeNodeFilters(filters).toString()).toBe(query);
    expect(hasFilters(filters)).toBe(true);
  });

  it('leave out what is not valid, since a URL may come from anywhere', () => {
    const query = 'state=won&order=0&order=1e3&controller=2&never_joined=1&expires_in_days=-1&starts=xyz&node=1&site=&q=+';
    const filters = readNodeFilters(new URLSearchParams(query));
    expect(hasFilters(filters)).toBe(false);
    expect(nodesRequest(filters, null, 100, 0)).toBe('/v1/nodes?limit=100');
  });

  it('ask the API for a time, to the minute, where the URL has days', () => {
    const filters = readNodeFilters(new URLSearchParams('state=joined&expires_in_days=7'));
    const now = Date.parse('2026-11-29T10:00:30Z');
    expect(nodesRequest(filters, 'abc', 100, now)).toBe(
      '/v1/nodes?state=joined&expires_before=2026-12-06T10%3A01%3A00.000Z&limit=100&after=abc',
    );
  });
});

it('the calendar leads to the nodes of a day, under its own filters of place', () => {
  const query = 'order=3&expires_from=2026-12-23T23%3A00%3A00.000Z&expires_before=2026-12-24T23%3A00%3A00.000Z&site=North';
  const filters = readNodeFilters(new URLSearchParams(query));
  expect(writeNodeFilters(filters).toString()).toBe(query);
  expect(nodesRequest(filters, null, 100, 0)).toBe(`/v1/nodes?${query}&limit=100`);
  expect(calendarRequest({ ...filters, q: 'hall', starts: '7a' }, 'week', 'Europe/Berlin')).toBe(
    '/v1/calendar?order=3&site=North&by=week&count=104&time_zone=Europe%2FBerlin',
  );
  expect(calendarOrdersRequest({ ...filters, q: 'hall' }, { from: null, before: '2026-12-24T23:00:00.000Z' })).toBe(
    '/v1/calendar/orders?order=3&expires_before=2026-12-24T23%3A00%3A00.000Z&site=North',
  );
  for (const text of ['tomorrow', '2026-13-01T00:00:00.000Z', '2026-12-01'])
    expect(hasFilters(readNodeFilters(new URLSearchParams({ expires_from: text, expires_before: text })))).toBe(false);
});

it('filters of the audit log go through the URL, beside the node in the drawer', () => {
  const filters = { what: 'node joined', node: '0005214e', actor: 'user ada' };
  const query = writeAuditFilters(filters);
  expect(readAuditFilters(withParameters(query, { node: '1905717b' }))).toEqual(filters);
  expect(auditRequest(filters, null, 50)).toBe('/v1/audit?limit=50&what=node+joined&node=0005214e&actor=user+ada');
  expect(readAuditFilters(new URLSearchParams('what=<b>&about=zz'))).toEqual({ what: '', node: '', actor: '' });
});

it('parameters are added, replaced and removed, and others stay', () => {
  const query = new URLSearchParams('state=joined&node=00000001');
  expect(urlOf('/nodes', withParameters(query, { node: '0005214e' }))).toBe('/nodes?state=joined&node=0005214e');
  expect(urlOf('/', withParameters(new URLSearchParams('node=00000001'), { node: null }))).toBe('/');
});

it('a node opens on every page, an order and a controller on their own', () => {
  const opened = (url: string): Opened | undefined => {
    const { pathname, searchParams } = new URL(url, 'http://localhost');
    return openedOf(pathname, searchParams);
  };
  expect(opened('/orders?node=0005214e&open=3')).toEqual({ kind: 'node', id: '0005214e' });
  expect(opened('/orders?open=3')).toEqual({ kind: 'order', id: '3' });
  expect(opened('/controllers?open=00000001')).toEqual({ kind: 'controller', id: '00000001' });
  for (const url of ['/nodes?open=3', '/orders?open=x', '/controllers?open=3', '/?node=1', '/'])
    expect(opened(url)).toBeUndefined();

  const query = new URLSearchParams('state=joined&node=00000002');
  expect(openUrl('/nodes', query, { kind: 'node', id: '0005214e' })).toBe('/nodes?state=joined&node=0005214e');
  expect(openUrl('/nodes', query, { kind: 'order', id: '3' })).toBe('/orders?open=3');
  expect(openUrl('/orders', new URLSearchParams('after=abc'), { kind: 'order', id: '3' })).toBe('/orders?after=abc&open=3');
});

it('a search is an ID however it was pasted, its first digits, or a text', () => {
  for (const text of ['0005214e', ' 0005214E ', '00:05:21:4e', '0x0005214e', '0005 214e', '00-05-21-4e'])
    expect(readSearch(text)).toEqual({ kind: 'node', id: '0005214e' });
  expect(readSearch('7A3')).toEqual({ kind: 'prefix', starts: '7a3' });
  for (const text of ['Pump 3', '0005214e0']) expect(readSearch(` ${text} `)).toEqual({ kind: 'text', text });
  for (const text of ['', '  ', '\u{200b}']) expect(readSearch(text)).toEqual({ kind: 'empty' });
  // As copied from a page that marks the direction of its text.
  expect(readSearch('\u{200e}0005214e\u{202c}')).toEqual({ kind: 'node', id: '0005214e' });
});

it('a key that is scanned or pasted is in no URL: of a label only the ID is searched for', () => {
  const key = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';
  const label = `LATCHKEY:1/0005214E/00000001/${key.toUpperCase()}/192.0.2.1:5683`;
  expect(readSearch(label)).toEqual({ kind: 'node', id: '0005214e' });
  const others = [`0005214e,00000001,${key},192.0.2.1:5683`, key, `AGE-SECRET-KEY-1${'Q'.repeat(58)}`, `lk_${'a2'.repeat(30)}`];
  for (const text of others) expect(readSearch(text)).toEqual({ kind: 'key' });
  for (const text of [label, ...others]) {
    const typed = { q: text, site: `north, ${text}`, tag: text, order: '', controller: '', starts: '' };
    expect(readTypedFilters(typed).wrong).toEqual(['q', 'site', 'tag']);
    const query = new URLSearchParams({ q: text, site: text, tag: text, actor: text });
    expect(hasFilters(readNodeFilters(query))).toBe(false);
    expect(readAuditFilters(query).actor).toBe('');
  }
});

it('a one-time link has its token in the fragment of one page', () => {
  expect(linkTokenOf('/sign-in', '#link=abc')).toBe('abc');
  for (const fragment of ['', '#', '#link=', '#abc']) expect(linkTokenOf('/sign-in', fragment)).toBeUndefined();
  expect(linkTokenOf('/nodes', '#link=abc')).toBeUndefined();
  expect(pageOf('/sign-in')).toBeUndefined();
});

it('the answer of a sign-in provider is known by its page and its parameters', () => {
  expect(providerAnswerOf('/sign-in', '?code=a%2Bb&state=c&iss=d')).toBe('code=a%2Bb&state=c&iss=d');
  expect(providerAnswerOf('/sign-in', '?error=access_denied&state=c')).toBe('error=access_denied&state=c');
  for (const [path, search] of [
    ['/nodes', '?code=a&state=c'],
    ['/sign-in', '?state=c'],
    ['/sign-in', ''],
  ] as const)
    expect(providerAnswerOf(path, search)).toBeUndefined();
});
