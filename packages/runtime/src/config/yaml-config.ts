/**
 * Parses a configuration in YAML. An error names file, line, field, value, and the expected form.
 * Loaded together with the parser.
 */

import { type Document, LineCounter, parseDocument } from 'yaml';
import * as z from 'zod/mini';
import { UsageFailure } from '../failure.js';
import { readPlainFile } from '../files/files.js';
import { describeValue } from './shown-value.js';
import { describeIssue, errorMap } from './zod-error-map.js';

const CORRECT_IT = { advice: 'Nothing was done. Correct the file, and run the command again.' };

/** What is wrong with one field of a configuration: `FIELD: expected ...`. */
export interface ConfigProblem {
  /** Names and places in lists. */
  readonly field: readonly PropertyKey[];
  readonly says: string;
  /** What to do about this one. */
  readonly advice?: string | undefined;
}

/** @param path names the file in errors */
export function parseYaml<S extends z.core.$ZodType>(schema: S, text: string, path: string): z.output<S> {
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
    // Some of the parser's messages end with its input, which may be a secret.
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

/** As `locateProblems` of config.ts. */
export async function locateProblems(path: string, problems: readonly ConfigProblem[]): Promise<UsageFailure> {
  const lines = new LineCounter();
  const document = parseDocument(await readPlainFile(path), { lineCounter: lines, prettyErrors: false });
  return configFailure(problems, path, (field) => lineOf(document, lines, field));
}

/** Returns the value of the field, for the end of the message. */
function valueAfter({ message, path }: z.core.$ZodIssue, whole: unknown): string {
  // Other messages already describe the value.
  if (!/^expected (?!none\b|another\b)/.test(message) || /, and it is |, not "/.test(message)) return '';
  let value: unknown = whole;
  for (const part of path) value = typeof value === 'object' && value !== null ? (value as never)[part] : undefined;
  // A list that is too short, or too long, is one.
  return Array.isArray(value) && message.startsWith('expected a list') ? '' : describeValue(value, path);
}

/** If a number exceeds two bounds, only the nearer bound is reported. */
function isTold(issue: z.core.$ZodIssue, _: number, issues: readonly z.core.$ZodIssue[]): boolean {
  if (issue.code !== 'too_big' || issue.maximum !== Number.MAX_SAFE_INTEGER) return true;
  return !issues.some((other) => other !== issue && other.path.join('.') === issue.path.join('.'));
}

function lineOf(document: Document, lines: LineCounter, field: readonly PropertyKey[]): number | undefined {
  const offset = offsetOf(document, field);
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

/**
 * Returns the offset of a field, or, if it is missing, of the innermost list or object around it.
 */
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
