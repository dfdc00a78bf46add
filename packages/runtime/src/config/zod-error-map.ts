/**
 * Error messages for schemas, in the style of all other messages. The map is passed to each parse,
 * because `zod/mini` has no messages. A node-agent uses `zod/mini`, because all of `zod` takes
 * three times as long to load.
 */

import type * as z from 'zod/mini';

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'names with values',
  record: 'names with values',
};

const EXPECTED = 'expected ';

export function errorMap(issue: z.core.$ZodRawIssue): string {
  return `expected ${describeExpectation(issue)}${issue.input === undefined ? ', and it is missing' : ''}`;
}

/** Returns `field: expectation`. Never the value, which may be a key. */
export function describeIssue(issue: z.core.$ZodIssue): string {
  const field = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return `unknown key ${issue.keys.map((key) => [...issue.path.map(String), key].join('.')).join(', ')}: ${issue.message}`;
  }
  return field === '' ? issue.message : `${field}: ${issue.message}`;
}

function describeExpectation(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.expected === 'string') return textExpectation(issue.inst) ?? 'text';
      return TYPE_NAMES[issue.expected] ?? issue.expected;
    case 'too_small':
      return atLeast(issue.origin, Number(issue.minimum));
    case 'too_big':
      return `${issue.maximum} at most`;
    case 'invalid_value':
      return oneOf(issue.values.map(String));
    case 'unrecognized_keys':
      return oneOf(allowedKeys(issue.inst));
    case 'invalid_format':
      return issue.format === 'datetime' ? 'a time such as 2026-12-01T08:00:00.000Z' : 'another form';
    case 'invalid_union':
      return issue.errors.map(([first]) => first?.message.replace(/^expected /, '')).join(', or ');
    default:
      return 'something else';
  }
}

/** A more specific expectation replaces the one that a value is a text. */
function textExpectation(schema: unknown): string | undefined {
  for (const check of (schema as z.core.$ZodType | undefined)?._zod.def.checks ?? []) {
    const said = check._zod.def.error?.({ code: 'custom', input: '', path: [] } as never);
    const message = typeof said === 'string' ? said : said?.message;
    if (message?.startsWith(EXPECTED) === true) return message.slice(EXPECTED.length);
  }
  return undefined;
}

/**
 * Error for a text that is parsed later. If the input is a number, the error describes the expected
 * text.
 *
 * @param message `expected ...`
 */
export function textError(message: string): { error(issue: { readonly input?: unknown }): string } {
  return { error: ({ input }) => `${message}${input === undefined ? ', and it is missing' : ''}` };
}

function atLeast(origin: string, minimum: number): string {
  if (origin === 'string') return minimum === 1 ? 'text, and it is empty' : `${minimum} characters or more`;
  return origin === 'array' ? `a list of ${minimum} or more` : `${minimum} or more`;
}

function oneOf(words: readonly string[]): string {
  return words.length === 1 ? String(words[0]) : `one of ${words.join(', ')}`;
}

/** The names that the schema of an object allows. */
function allowedKeys(schema: unknown): string[] {
  return Object.keys((schema as z.core.$ZodObject)._zod.def.shape);
}
