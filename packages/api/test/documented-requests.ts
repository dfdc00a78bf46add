// Every request that the OpenAPI document has: each method, parameter and field of a body.

import { readFileSync } from 'node:fs';

/** Of JSON Schema, what the document uses. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly default?: unknown;
}

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly schema: Schema;
}

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}

const document = JSON.parse(readFileSync(new URL('../openapi.json', import.meta.url), 'utf8')) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
};

/**
 * Values by the name of a parameter or field, each for a request of its own. A value of a list may
 * be a list. `undefined`: the schema says which.
 */
export type ValuesOf = (name: string) => readonly unknown[] | undefined;

export interface DocumentedRequest {
  /** Name of the route. */
  readonly operation: string;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: object | undefined;
  /** What it has beyond the least, for messages. */
  readonly about: string;
}

/**
 * The least request of each operation; then one for each value of each parameter and field; and one
 * with all fields of its body.
 *
 * @param completions by operation: what the schema does not say that a body needs. There is a
 *   request with each.
 */
export function* documentedRequests(
  valuesOf: ValuesOf,
  completions: Readonly<Record<string, readonly object[]>> = {},
): Generator<DocumentedRequest> {
  for (const [template, operations] of Object.entries(document.paths))
    for (const [method, { operationId: operation, parameters = [], requestBody }] of Object.entries(operations)) {
      const named = (place: Parameter['in']): readonly (readonly [string, Schema])[] =>
        parameters.filter((parameter) => parameter.in === place).map(({ name, schema }) => [name, schema]);
      const bodySchema = requestBody?.content['application/json']?.schema;
      const bodies = bodySchema === undefined ? [undefined] : (variants('', bodySchema, valuesOf) as readonly object[]);
      const [body, ...otherBodies] = (completions[operation] ?? [{}]).flatMap((more) =>
        bodies.map((one) => one && Object.assign({}, one, more)),
      );
      const path = named('path').reduce(
        (text, [name, schema]) => text.replace(`{${name}}`, encodeURIComponent(String(variants(name, schema, valuesOf)[0]))),
        template,
      );
      const headers = Object.fromEntries(
        named('header').flatMap(([name, schema]) =>
          variants(name, schema, valuesOf)
            .slice(0, 1)
            .map((value) => [name.toLowerCase(), String(value)] as const),
        ),
      );
      const least = { operation, method: method.toUpperCase(), path, headers, body, about: '' };
      yield least;
      for (const [name, schema] of named('query'))
        for (const value of variants(name, schema, valuesOf)) {
          const query = new URLSearchParams([value].flat().map((one) => [name, String(one)]));
          yield { ...least, path: `${path}?${query.toString()}`, about: query.toString() };
        }
      for (const [name, schema] of named('header')) {
        const { [name.toLowerCase()]: _, ...without } = headers;
        yield { ...least, headers: without, about: `no ${name}` };
        for (const value of variants(name, schema, valuesOf).slice(1))
          yield { ...least, headers: { ...headers, [name.toLowerCase()]: String(value) }, about: `${name}: ${String(value)}` };
      }
      for (const other of otherBodies) yield { ...least, body: other, about: JSON.stringify(other) };
    }
}

/** Values of a schema: the least one first. */
function variants(name: string, schema: Schema, valuesOf: ValuesOf): readonly unknown[] {
  const { $ref, anyOf, oneOf, properties, required = [], items, type } = schema;
  if ($ref !== undefined) return variants(name, document.components.schemas[$ref.split('/').at(-1) ?? ''] ?? {}, valuesOf);
  if (type === 'array') return (valuesOf(name) ?? variants(name, items ?? {}, valuesOf)).map((value) => [value].flat());
  const given = properties === undefined ? valuesOf(name) : undefined;
  if (given !== undefined) return given;
  const choices = anyOf ?? oneOf;
  if (choices !== undefined) return choices.flatMap((choice) => variants(name, choice, valuesOf));
  if (properties !== undefined) return objects(properties, required, valuesOf);
  return simpleValues(schema);
}

function objects(
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[],
  valuesOf: ValuesOf,
): readonly Readonly<Record<string, unknown>>[] {
  const values = Object.entries(properties).map(([name, schema]) => [name, variants(name, schema, valuesOf)] as const);
  const firstOf = (names: (name: string) => boolean): Record<string, unknown> =>
    Object.fromEntries(values.filter(([name]) => names(name)).map(([name, [first]]) => [name, first]));
  const least = firstOf((name) => required.includes(name));
  const each = values.flatMap(([name, all]) =>
    all.slice(required.includes(name) ? 1 : 0).map((value) => Object.assign({}, least, { [name]: value })),
  );
  return [least, ...each, firstOf(() => true)];
}

function simpleValues({ const: constant, enum: choices, type, format, minimum = 0, ...schema }: Schema): readonly unknown[] {
  if (constant !== undefined) return [constant];
  if (choices !== undefined) return choices;
  switch (type) {
    case 'boolean':
      return [true, false];
    case 'integer':
    case 'number':
      return [schema.default ?? Math.max(minimum, 1), Math.max(minimum, 1) + 1];
    case 'null':
      return [null];
    default:
      return format === 'date-time' ? ['2100-01-01T00:00:00Z', '2000-01-01T00:00:00Z'] : ['text'];
  }
}
