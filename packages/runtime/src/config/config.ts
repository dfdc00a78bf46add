/**
 * Configuration from YAML, state and credentials from JSON: what is wrong is named by file, line,
 * field and expectation.
 */

import type { Document, LineCounter } from 'yaml';
import * as z from 'zod/mini';
import { describeValue } from './shown-value.js';
import { errorMap } from './zod-error-map.js';
import { type Advice, UsageFailure } from '../failure.js';
import { readPlainFile, readPrivateFile } from '../files/files.js';

/** A line of YAML that says nothing. */
const BLANK_OR_COMMENT = /^\s*(?:#.*)?$/;

/** Reads `path` (or nothing) as YAML of the given schema. A strict schema refuses unknown keys. */
export async function loadConfig<S extends z.core.$ZodType>(schema: S, path: string | undefined): Promise<z.output<S>> {
  if (path === undefined) return z.parse(schema, {});
  const text = await readPlainFile(path);
  // As it is installed, all of it comments. The parser is a tenth of what a device would start
  // with, so it is loaded where there is something to parse.
  if (text.split('\n').every((line) => BLANK_OR_COMMENT.test(line))) return z.parse(schema, {});
  const { LineCounter, parseDocument } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [syntaxError] = document.errors;
  if (syntaxError !== undefined) {
    const { line, col } = lines.linePos(syntaxError.pos[0]);
    const at = `${path}, line ${line}, column ${col}`;
    if (syntaxError.code === 'MULTIPLE_DOCS') {
      throw new UsageFailure(`${at}: a second document begins, and one is expected`, {
        advice: 'Put all of it into one, without `---` between.',
      });
    }
    // Some of the parser's messages end with what it read, which may be a secret.
    throw new UsageFailure(`${at}: not YAML: ${syntaxError.message.replace(/: ".*"$/s, '')}`, CORRECT_IT);
  }
  const value = toPlainValue(document, path) ?? {};
  const result = z.safeParse(schema, value, { error: errorMap });
  if (result.success) return result.data;
  throw configFailure(
    result.error.issues.filter(isTold).flatMap((issue) => {
      if (issue.code !== 'unrecognized_keys')
        return { field: issue.path, says: `${describeIssue(issue)}${valueAfter(issue, value)}` };
      // Each has a line.
      return issue.keys.map((key) => ({ field: [...issue.path, key], says: describeIssue({ ...issue, keys: [key] }) }));
    }),
    path,
    (field) => lineOf(document, lines, field),
  );
}

const CORRECT_IT = { advice: 'Nothing was done. Correct the file, and run the command again.' };

/** What is wrong with one field of a configuration: `FIELD: expected ...`. */
export interface ConfigProblem {
  /** Names and places in lists. */
  readonly field: readonly PropertyKey[];
  readonly says: string;
  /** What to do about this one. */
  readonly advice?: string | undefined;
}

function configFailure(
  problems: readonly ConfigProblem[],
  path: string,
  lineOfField: (field: readonly PropertyKey[]) => number | undefined,
): UsageFailure {
  const [first, ...others] = problems;
  const located = problems.map((problem) => ({ ...problem, line: lineOfField(problem.field) }));
  const inOrder = located.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
  const texts = inOrder.map(({ says, advice, line }) => {
    const text = `${path}${line === undefined ? '' : `, line ${line}`}: ${says}`;
    return advice === undefined || others.length === 0 ? text : `${text}\n  ${advice}`;
  });
  const advice = others.length === 0 ? first?.advice : undefined;
  return new UsageFailure(texts.join('\n'), advice === undefined ? CORRECT_IT : { advice });
}

/**
 * Names file and line of problems that were found after the configuration `path` was loaded, as of
 * a program that does not exist.
 */
export async function locateProblems(path: string, problems: readonly ConfigProblem[]): Promise<UsageFailure> {
  const { LineCounter, parseDocument } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(await readPlainFile(path), { lineCounter: lines, prettyErrors: false });
  return configFailure(problems, path, (field) => lineOf(document, lines, field));
}

/** The value of the field, behind what was expected of it. */
function valueAfter({ message, path }: z.core.$ZodIssue, whole: unknown): string {
  // Other messages say what is wrong with a value that is as expected.
  if (!/^expected (?!none\b|another\b)/.test(message) || /, and it is |, not "/.test(message)) return '';
  let value: unknown = whole;
  for (const part of path) value = typeof value === 'object' && value !== null ? (value as never)[part] : undefined;
  // A list that is too short, or too long, is one.
  return Array.isArray(value) && message.startsWith('expected a list') ? '' : describeValue(value, path);
}

/** Of a number that is too large for two reasons the nearer bound is told. */
function isTold(issue: z.core.$ZodIssue, _: number, issues: readonly z.core.$ZodIssue[]): boolean {
  if (issue.code !== 'too_big' || issue.maximum !== Number.MAX_SAFE_INTEGER) return true;
  return !issues.some((other) => other !== issue && other.path.join('.') === issue.path.join('.'));
}

function lineOf(document: Document, lines: LineCounter, field: readonly PropertyKey[]): number | undefined {
  const offset = offsetOf(document, field);
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

/** Returns where a field stands, or, if it is missing, the innermost list or object around it. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; ; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (hasRange(node)) return node.range[0];
    // A field that is missing at the top has no line.
    if (length <= 1) return undefined;
  }
}

/** Aliases are resolved here: one of nothing, or too many, is the file's mistake. */
function toPlainValue(document: Document, path: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new UsageFailure(`${path}: not YAML: ${error instanceof Error ? error.message : String(error)}`, CORRECT_IT);
  }
}

function hasRange(node: unknown): node is { readonly range: readonly [number, number, number] } {
  return typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range);
}

/** `field: what was expected`. Never the value: it may be a key. */
export function describeIssue(issue: z.core.$ZodIssue): string {
  const field = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return `unknown key ${issue.keys.map((key) => [...issue.path.map(String), key].join('.')).join(', ')}: ${issue.message}`;
  }
  return field === '' ? issue.message : `${field}: ${issue.message}`;
}

/** What could be read is not what it was to be. */
export class InvalidContent extends UsageFailure {
  /** Paths of the fields that are wrong; none where it is not JSON. */
  readonly fields: readonly string[];

  constructor(message: string, fields: readonly string[], options?: Advice) {
    super(message, options);
    this.fields = fields;
  }
}

/**
 * Reads a private file (mode 0600) as JSON of the given schema.
 *
 * @param advice what to do where it is not JSON at all; the parser's own message would quote it,
 *   and it may hold a key
 */
export async function loadPrivateJson<S extends z.core.$ZodType>(schema: S, path: string, advice: string): Promise<z.output<S>> {
  const text = await readPrivateFile(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new InvalidContent(`${path}: not JSON`, [], { advice });
  }
  return parseOrFail(schema, json, path);
}

/**
 * The problems of `value` under `schema`, thrown as an InvalidContent that names `where`; else the
 * parsed value.
 */
export function parseOrFail<S extends z.core.$ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const result = z.safeParse(schema, value, { error: errorMap });
  if (result.success) return result.data;
  const { issues } = result.error;
  const fields = issues.map(({ path }) => path.map(String).join('.'));
  throw new InvalidContent(`${where}: ${issues.map(describeIssue).join('; ')}`, fields);
}
