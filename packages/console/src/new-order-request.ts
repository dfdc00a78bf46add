/** Request for a new order in the form of the API, and the rule for repeating it. */

import type { Problem } from './api.js';

const DAY_S = 86_400;

/** As typed. */
export interface OrderTerms {
  readonly installer: string;
  readonly contact: string;
  readonly site: string;
  readonly controller: string;
  readonly count: string;
  readonly lifetimeDays: string;
  readonly graceDays: string;
  /** Of `datetime-local`; empty for no bound. */
  readonly joinFrom: string;
  readonly joinUntil: string;
  readonly sharedKey: boolean;
}

export const NEW_ORDER: OrderTerms = {
  installer: '',
  contact: '',
  site: '',
  controller: '',
  count: '',
  lifetimeDays: '90',
  graceDays: '7',
  joinFrom: '',
  joinUntil: '',
  sharedKey: false,
};

/** The body of POST /v1/orders without its recipients. The API says what is wrong with it. */
export function orderRequest(terms: OrderTerms, { isUtc }: { readonly isUtc: boolean }): object {
  const optional = {
    contact: terms.contact.trim(),
    site: terms.site.trim(),
    join_from: timeOf(terms.joinFrom, isUtc),
    join_until: timeOf(terms.joinUntil, isUtc),
  };
  return {
    installer: terms.installer.trim(),
    ...Object.fromEntries(Object.entries(optional).filter(([, text]) => text !== '')),
    controller: terms.controller.trim().toLowerCase(),
    count: Number(terms.count),
    shared_key: terms.sharedKey,
    lifetime_seconds: Math.round(Number(terms.lifetimeDays) * DAY_S),
    grace_seconds: Math.round(Number(terms.graceDays) * DAY_S),
  };
}

/** `datetime-local` has no zone: it is in the one that the reader chose. */
function timeOf(local: string, isUtc: boolean): string {
  return local === '' ? '' : new Date(isUtc ? `${local}Z` : local).toISOString();
}

/** Problems with these names do not show the state of the job. */
const UNDECIDED: ReadonlySet<string> = new Set(['unreachable', 'step-up-required', 'request-under-way']);

/**
 * Whether the job may run, or have run, in spite of the problem. The request is then sent again
 * under the same key: another key would order the nodes twice.
 */
export function mayHaveBegun({ name, status }: Problem): boolean {
  return UNDECIDED.has(name) || status === 401 || status === 429 || status >= 500;
}

/** Whether the server was asked, and did not say what became of it. */
export function isUnanswered({ name, status }: Problem): boolean {
  return name === 'unreachable' || name === 'request-under-way' || status >= 500;
}

const IN_DOUBT: ReadonlySet<string> = new Set(['job-interrupted', 'outcome-unknown']);

/**
 * Whether nobody but the reader can find out if it was done: the server stopped in the middle. The
 * request is sent again, as another one, only if the reader says so.
 */
export function isInDoubt({ name }: Problem): boolean {
  return IN_DOUBT.has(name);
}
