/**
 * Parses path and query, or path and body, into the input that an operation's schema expects. A URL
 * contains only text, so numbers and booleans are parsed if the schema expects them. Errors name
 * the field, never the value.
 */

import { describeIssue, errorMap } from '@latchkey/runtime/config';
import type { z } from 'zod';
import { Problem } from './problem.js';

const INTEGER = /^(?:0|[1-9]\d{0,15})$/;
/** Parameters of one request. Beyond that it is refused. */
const MAX_PARAMETERS = 128;

/** Values by name, in the order in which the query has them. */
export type QueryValues = ReadonlyMap<string, readonly string[]>;

export function parseQuery(text: string): QueryValues {
  const values = new Map<string, string[]>();
  let count = 0;
  for (const [name, value] of new URLSearchParams(text)) {
    if (++count > MAX_PARAMETERS)
      throw new Problem('bad-request', { detail: `A request has ${MAX_PARAMETERS} parameters at most.` });
    const before = values.get(name);
    if (before === undefined) values.set(name, [value]);
    else before.push(value);
  }
  return values;
}

/** Values by name, of the path. */
export type PathValues = Readonly<Record<string, string>>;

/**
 * Reads path and query.
 *
 * @throws Problem that names each mistake
 */
export function readInput(schema: z.ZodObject, path: PathValues, query: QueryValues): object {
  // Without a prototype: `__proto__` is a name like any other.
  const input = Object.create(null) as Record<string, unknown>;
  const repeated: string[] = [];
  for (const [name, values] of query) {
    // A name of the path is no name of the query.
    if (Object.hasOwn(path, name)) throw badRequest([{ at: 'query', is: `expected no parameter that the path has` }]);
    const type = typeOf(fieldOf(schema, name));
    if (type.name === 'array') input[name] = values.map((value) => convert(value, type.element));
    else if (values.length === 1) input[name] = convert(values[0] ?? '', type.name);
    else repeated.push(name);
  }
  if (repeated.length > 0)
    throw badRequest(repeated.map((name) => ({ at: fieldOf(schema, name) === undefined ? 'query' : name, is: 'expected once' })));
  return parse(schema, input, path, 'query');
}

/**
 * Reads path and body, where a method has one.
 *
 * @throws Problem that names each mistake
 */
export function readBody(schema: z.ZodObject, path: PathValues, body: unknown): object {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw badRequest([{ at: 'body', is: 'expected an object in JSON' }]);
  const input = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of Object.entries(body)) {
    if (Object.hasOwn(path, name)) throw badRequest([{ at: 'body', is: 'expected no field that the path has' }]);
    input[name] = value;
  }
  return parse(schema, input, path, 'body');
}

/** @param place where the names are that the path does not have */
function parse(schema: z.ZodObject, input: Record<string, unknown>, path: PathValues, place: 'query' | 'body'): object {
  for (const [name, value] of Object.entries(path)) input[name] = convert(value, typeOf(fieldOf(schema, name)).name);
  const result = schema.safeParse(input, { error: errorMap });
  if (result.success) return result.data;
  const known = Object.keys(schema.shape).filter((name) => !Object.hasOwn(path, name));
  const nothing = place === 'query' ? 'no parameters' : 'no fields';
  throw badRequest(
    result.error.issues.map((issue) => {
      const at = issue.path.map(String).join('.') || place;
      if (issue.code !== 'unrecognized_keys') return { at, is: describeIssue({ ...issue, path: [] }) };
      // Names that are not known are the caller's text.
      return { at, is: issue.path.length > 0 ? 'expected no other fields' : `expected only ${known.join(', ') || nothing}` };
    }),
  );
}

/** Returns `undefined` for a name that the schema does not have: it is the caller's text. */
function fieldOf({ shape }: z.ZodObject, name: string): z.core.$ZodType | undefined {
  return Object.hasOwn(shape, name) ? shape[name] : undefined;
}

function badRequest(errors: readonly { readonly at: string; readonly is: string }[]): Problem {
  return new Problem('bad-request', { errors });
}

interface FieldType {
  readonly name: string;
  readonly element: string;
}

/** The type of a field without `optional` and `default` around it. */
function typeOf(field: z.core.$ZodType | undefined): FieldType {
  let type = field;
  while (type !== undefined) {
    const { def } = type._zod as {
      readonly def: z.core.$ZodTypeDef & { readonly innerType?: z.core.$ZodType; readonly element?: z.core.$ZodType };
    };
    if (def.innerType === undefined) return { name: def.type, element: def.element?._zod.def.type ?? '' };
    type = def.innerType;
  }
  return { name: '', element: '' };
}

/** A text that does not parse stays text, so that the schema reports the expected type. */
function convert(text: string, type: string | undefined): unknown {
  if (type === 'number' || type === 'int') return INTEGER.test(text) ? Number(text) : text;
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  return text;
}
