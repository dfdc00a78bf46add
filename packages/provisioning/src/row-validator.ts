/**
 * Checks the four fields of a manifest's row. A message shows the wrong value, but never one of the
 * key's column.
 */

import { parseId } from '@latchkey/protocol';
import { explainPeerSyntax, type Endpoint, parsePeerEndpoint } from '@latchkey/runtime/net';
import { isBlankKey, NO_KEY } from '@latchkey/runtime/files';
import { showValue } from './shown-value.js';

/** The fields of a row, in the order in which they are written. */
export const MANIFEST_COLUMNS = ['id', 'controller_id', 'controller', 'ik'] as const;

/** Description fields that a file may also have. A device ignores them. */
const MANIFEST_TEXT_COLUMNS = ['name', 'site', 'location', 'tags', 'note'] as const;

/** Texts of a row as they stand there, not looked at. Those that are empty are left out. */
export type ManifestTexts = { readonly [C in (typeof MANIFEST_TEXT_COLUMNS)[number]]?: unknown };

/** A row whose fields are all well-formed. */
export interface ManifestRow {
  /** Where the row begins, from 1. */
  readonly line: number;
  readonly idI: number;
  readonly idC: number;
  readonly controller: Endpoint;
  /** 16 octets, valid until the next row. */
  readonly ik: Uint8Array;
  readonly texts?: ManifestTexts;
}

/** A row that cannot be used, and why. The reason holds no key. */
export interface ManifestProblem {
  readonly line: number;
  /** Present if the row has a well-formed ID. */
  readonly idI?: number;
  readonly reason: string;
}

/** Receives the rows of a file in their order. */
export interface ManifestHandler {
  /** Returns false for a node of no interest: the other fields of its row are not checked. */
  wants?(idI: number): boolean;
  row(row: ManifestRow): void;
  problem(problem: ManifestProblem): void;
}

/** Checks the rows of a file, whichever notation they have. */
export interface RowChecker {
  /** The fields of a row, in the order in which they are written. */
  readonly columns: readonly string[];
  /** Fields that a row may have, in the order in which they follow the others. */
  readonly furtherColumns?: readonly string[];
  /**
   * Passes a row on, or reports the first field that is wrong. A row of empty fields is none. A
   * further field that the file does not have is empty.
   */
  take(line: number, fields: readonly unknown[]): void;
  /** Reports a row whose fields cannot be told apart. */
  reject(line: number, id: unknown, reason: string): void;
}

const KEY = /^[0-9a-fA-F]{32}$/;
/**
 * A number as spreadsheets write it in place of digits: `1E+05`, `1.23E+31`, `1,23E+31`, `12.0`.
 */
const NUMBER = /^\d+(?:[.,]\d+(?:e[+-]?\d+)?|e[+-]\d+)$/i;
const AS_TEXT = 'a spreadsheet made a number of it; import the original file with this column as text';

export class RowValidator implements RowChecker {
  readonly columns: readonly string[] = MANIFEST_COLUMNS;
  readonly furtherColumns: readonly string[] = MANIFEST_TEXT_COLUMNS;
  readonly #handler: ManifestHandler;
  readonly #ik = Buffer.alloc(16);
  /** Those of the last row: a file names few controllers, one after the other. */
  #controllerText = '';
  #controller: Endpoint | undefined;

  constructor(handler: ManifestHandler) {
    this.#handler = handler;
  }

  take(line: number, [id, controllerId, controller, ik, ...further]: readonly unknown[]): void {
    if (id === '' && controllerId === '' && controller === '' && ik === '' && further.every((field) => field === '')) return;
    const idI = typeof id === 'string' ? parseId(id) : undefined;
    if (idI === undefined) return this.#problem(line, undefined, `id: ${describeId(id)}`);
    if (this.#handler.wants?.(idI) === false) return;
    const idC = typeof controllerId === 'string' ? parseId(controllerId) : undefined;
    if (idC === undefined) return this.#problem(line, idI, `controller_id: ${describeId(controllerId)}`);
    const endpoint = this.#endpointOf(controller);
    if (endpoint === undefined) return this.#problem(line, idI, `controller: ${describeController(controller)}`);
    const wrong = readKey(ik, this.#ik);
    if (wrong !== undefined) return this.#problem(line, idI, `ik: ${wrong}`);
    const texts = textsOf(further);
    this.#handler.row({ line, idI, idC, controller: endpoint, ik: this.#ik, ...(texts && { texts }) });
  }

  reject(line: number, id: unknown, reason: string): void {
    const idI = typeof id === 'string' ? parseId(id) : undefined;
    if (idI === undefined || this.#handler.wants?.(idI) !== false) this.#problem(line, idI, reason);
  }

  #problem(line: number, idI: number | undefined, reason: string): void {
    this.#handler.problem({ line, reason, ...(idI === undefined ? {} : { idI }) });
  }

  #endpointOf(text: unknown): Endpoint | undefined {
    if (text === this.#controllerText && this.#controller !== undefined) return this.#controller;
    if (typeof text !== 'string') return undefined;
    const endpoint = parsePeerEndpoint(text);
    if (endpoint !== undefined) [this.#controllerText, this.#controller] = [text, endpoint];
    return endpoint;
  }
}

/** `undefined` if there is none. */
function textsOf(fields: readonly unknown[]): ManifestTexts | undefined {
  if (fields.every((field) => field === '')) return undefined;
  return Object.fromEntries(
    MANIFEST_TEXT_COLUMNS.flatMap((column, i) => (fields[i] === '' || fields[i] === undefined ? [] : [[column, fields[i]]])),
  );
}

/**
 * Reads a key of 32 hex digits into `octets`. Returns what is wrong with it, if anything, without a
 * digit of it.
 */
export function readKey(value: unknown, octets: Buffer): string | undefined {
  if (typeof value !== 'string' || !KEY.test(value)) return describeKey(value);
  if (isBlankKey(value)) return NO_KEY;
  octets.write(value, 'hex');
  return undefined;
}

export function describeId(value: unknown): string {
  const expected = 'expected 8 hex digits';
  if (typeof value === 'number') return `${expected} in quotes, not the number ${showValue(String(value)).replaceAll('"', '')}`;
  if (typeof value !== 'string') return `${expected}${lack(value)}`;
  if (value === '') return `${expected}, and it is empty`;
  const problem = `${expected}, not ${showValue(value)}`;
  if (NUMBER.test(value)) return `${problem}: ${AS_TEXT}`;
  if (/^[0-9a-f]{1,7}$/i.test(value))
    return `${problem}: if a spreadsheet took its leading zeros, write ${value.padStart(8, '0')}`;
  return problem;
}

function describeController(value: unknown): string {
  if (typeof value !== 'string') return `expected HOST:PORT${lack(value)}`;
  return `${explainPeerSyntax(value)}, ${value === '' ? 'and it is empty' : `not ${showValue(value)}`}`;
}

/** Shows no digit of the value. */
function describeKey(value: unknown): string {
  const expected = 'expected 32 hex digits';
  if (typeof value === 'number') return `${expected} in quotes, not a number`;
  if (typeof value !== 'string') return `${expected}${lack(value)}`;
  if (value === '') return `${expected}, and it is empty`;
  if (NUMBER.test(value)) return `${expected}: ${AS_TEXT}`;
  if (!/^[0-9a-f]*$/i.test(value)) return `${expected}, and other characters are in it`;
  return `${expected}, not ${value.length}${value.length < 32 ? ': a spreadsheet may have taken leading zeros' : ''}`;
}

function lack(value: unknown): string {
  return value === undefined || value === null ? ', and it is missing' : ' as text';
}
