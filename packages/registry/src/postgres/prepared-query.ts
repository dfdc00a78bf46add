/**
 * A statement as `pg` sends it, and its answer. Repeated work is done once per connection: the
 * columns of a prepared statement are requested and resolved with its first answer.
 */

import { type Connection, type CustomTypesConfig, Query, types as parsers } from 'pg';
import { toBuffer } from '../octets-json.js';
import type { SqlRow } from './tables.js';

type TypeId = Parameters<typeof parsers.getTypeParser>[0];

/** Methods of a query that `pg` calls, and that its types leave out. */
declare module 'pg' {
  interface Query {
    name?: string;
    hasBeenParsed(connection: Connection): boolean;
    prepare(connection: Connection): void;
    handleRowDescription(message: { readonly fields: readonly { readonly name: string; readonly dataTypeID: TypeId }[] }): void;
    handleDataRow(message: { readonly fields: readonly (string | null)[] }): void;
    handleCommandComplete(message: { readonly text: string }): void;
    handleReadyForQuery(): void;
    handleError(error: unknown): void;
  }
}

export interface Statement {
  /** Prepared under this name on each connection. */
  readonly name?: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

/** Result of a statement: a text that begins with the command, and rows. */
type Settle = (error: unknown, command: string, rows: readonly SqlRow[]) => void;

interface Column {
  readonly name: string;
  readonly parse: (text: string) => unknown;
}

/** Columns of the rows of each prepared statement of a connection, by its name. */
export type StatementColumns = Map<string, readonly Column[]>;

/** Numbers are whole and below 2^53, whatever width they have in the database. */
const INT8: number = parsers.builtins.INT8;
export const types: CustomTypesConfig = {
  getTypeParser: (...type) => ((type[0] as number) === INT8 ? Number : parsers.getTypeParser(...type)),
};

export class PreparedQuery extends Query {
  readonly #values: (string | Buffer | null)[];
  readonly #known: StatementColumns;
  readonly #settle: Settle;
  #columns: readonly Column[] = [];
  #command = '';
  readonly #rows: SqlRow[] = [];
  #isSettled = false;

  /** @param settle called once */
  constructor({ name, text, values = [] }: Statement, known: StatementColumns, settle: Settle) {
    const parameters = values.map(toParameter);
    super(text, parameters);
    if (name !== undefined) this.name = name;
    this.#values = parameters;
    this.#known = known;
    this.#settle = settle;
  }

  override prepare(connection: Connection): void {
    const columns = this.name === undefined ? undefined : this.#known.get(this.name);
    if (columns === undefined || !this.hasBeenParsed(connection)) {
      super.prepare(connection);
      return;
    }
    this.#columns = columns;
    connection.bind({ statement: this.name, values: this.#values }, true);
    connection.execute(null, true);
    connection.sync();
  }

  override handleRowDescription({ fields }: Parameters<Query['handleRowDescription']>[0]): void {
    this.#columns = fields.map(({ name, dataTypeID }) => ({ name, parse: types.getTypeParser(dataTypeID, 'text') }));
  }

  override handleDataRow({ fields }: Parameters<Query['handleDataRow']>[0]): void {
    const row: Record<string, unknown> = {};
    // Not `entries()`, which makes an array of each column of each row.
    let i = 0;
    for (const { name, parse } of this.#columns) {
      const field = fields[i++] ?? null;
      row[name] = field === null ? null : parse(field);
    }
    this.#rows.push(row);
  }

  override handleCommandComplete({ text }: Parameters<Query['handleCommandComplete']>[0]): void {
    if (this.name !== undefined) this.#known.set(this.name, this.#columns);
    const end = text.indexOf(' ');
    this.#command = end < 0 ? text : text.slice(0, end);
  }

  override handleReadyForQuery(): void {
    this.#end(undefined);
  }

  override handleError(error: unknown): void {
    this.#end(error);
  }

  #end(error: unknown): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#settle(error, this.#command, this.#rows);
  }
}

function toParameter(value: unknown): string | Buffer | null {
  if (value === undefined || value === null) return null;
  if (value instanceof Uint8Array) return toBuffer(value);
  if (Array.isArray(value)) return toArrayLiteral(value);
  return toText(value);
}

function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : JSON.stringify(value);
}

/** As the database reads an array (PostgreSQL, 8.15.6): `{1,NULL,"a \"text\""}`. */
export function toArrayLiteral(values: readonly unknown[]): string {
  let literal = '{';
  for (const value of values) {
    if (literal.length > 1) literal += ',';
    if (value === undefined || value === null) literal += 'NULL';
    else if (typeof value === 'number' || typeof value === 'boolean') literal += String(value);
    else if (value instanceof Uint8Array) literal += `\\\\x${toBuffer(value).toString('hex')}`;
    else literal += quote(toText(value));
  }
  return `${literal}}`;
}

/** Control characters and surrogates: JSON has escapes for them. */
const ESCAPED_IN_JSON = /[^ -\ud7ff\ue000-\uffff]/;

function quote(text: string): string {
  if (!/["\\]/.test(text)) return `"${text}"`;
  // Each entry of the audit log is full of quotes. JSON escapes both characters in the same way, in
  // a third of the time.
  return ESCAPED_IN_JSON.test(text) ? `"${text.replaceAll(/["\\]/g, '\\$&')}"` : JSON.stringify(text);
}
