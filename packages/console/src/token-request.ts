/** Request of the API for a new token. */

export const TOKEN_SCOPES = ['read', 'audit', 'describe', 'nodes', 'orders', 'controllers'] as const;
export type TokenScope = (typeof TOKEN_SCOPES)[number];

const DAY_S = 86_400;

/** As it was typed. */
export interface TokenInput {
  readonly name: string;
  readonly scopes: readonly TokenScope[];
  readonly days: string;
  /** One a line. */
  readonly networks: string;
  /** With commas between them. */
  readonly orders: string;
  readonly installer: string;
  /** One a line. */
  readonly sites: string;
}

export const EMPTY_TOKEN: TokenInput = {
  name: '',
  scopes: ['read'],
  days: '90',
  networks: '',
  orders: '',
  installer: '',
  sites: '',
};

/** Whether something is typed that limits the token to some orders. */
export function isLimited({ orders, installer, sites }: TokenInput): boolean {
  return `${orders}${installer}${sites}`.trim() !== '';
}

/**
 * Builds the request. The API validates it: a malformed field is sent as typed, and a field that
 * limits the token is never omitted.
 *
 * @param hasNoDays the API determines when the tokens of that person expire
 */
export function tokenRequest(input: TokenInput, hasNoDays: boolean): object {
  const { name, scopes, days, networks, orders, installer, sites } = input;
  const numbers = partsOf(orders, /[\s,]+/).map((text) => (/^\d{1,10}$/.test(text) ? Number(text) : text));
  const names = partsOf(sites, '\n');
  const limits = {
    ...(numbers.length === 0 ? {} : { orders: numbers }),
    ...(installer.trim() === '' ? {} : { installer: installer.trim() }),
    ...(names.length === 0 ? {} : { sites: names }),
  };
  return {
    name: name.trim(),
    scopes,
    ...(hasNoDays ? {} : { lifetime_seconds: Math.round(Number(days) * DAY_S) }),
    networks: partsOf(networks, /[\s,]+/),
    ...limits,
  };
}

function partsOf(text: string, separator: string | RegExp): readonly string[] {
  return text
    .split(separator)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
