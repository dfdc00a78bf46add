/** The OpenAPI 3.1 document of the routes, which the API serves at `/v1/openapi.json`. */

import { problemSchema } from '@latchkey/operations/contract';
import { z } from 'zod';
import { describeStatus, type ProblemName, PROBLEM_TYPE, statusOf } from './problem.js';
import type { Route } from './route.js';

/** Increases with each addition to `/v1`. */
const API_VERSION = '1.0.0';

const JSON_TYPE = 'application/json';

interface JsonSchema {
  readonly [key: string]: unknown;
}

/** What the operations of each tag are about. */
const TAGS: Readonly<Record<string, string>> = {
  summary: 'Counts of nodes and orders',
  nodes: 'Nodes: lists, descriptions, changes and resets',
  calendar: 'Keys by the day in which they expire',
  diagnoses: 'Why a node has not joined',
  orders: 'Orders, and the manifests of their nodes',
  installers: 'Installers, and whom their keys are encrypted to',
  exposure: 'Initial keys that more people know than should',
  controllers: 'Controllers and their credentials',
  waiting: 'IDs that asked for a key and are not in the registry',
  clock: 'Times of the clock in which commits are held back',
  audit: 'The audit log',
  jobs: 'Long operations and their results',
  imports: 'Nodes that were ordered elsewhere, in a file',
  events: 'What happens to nodes, as it happens',
  api: 'The API itself',
};

/** What every route may answer instead of its output. */
const COMMON_PROBLEMS: readonly ProblemName[] = [
  'bad-request',
  'not-authenticated',
  'forbidden',
  'request-timeout',
  'misdirected-request',
  'too-many-requests',
  'headers-too-large',
  'internal-error',
  'unavailable',
];

/** Renders a schema; a named one becomes a component. */
type ToSchema = (schema: z.core.$ZodType, io: 'input' | 'output') => JsonSchema;

const IF_MATCH: JsonSchema = {
  name: 'If-Match',
  in: 'header',
  required: true,
  schema: { type: 'string' },
  description: 'ETag of the resource as the caller saw it; `*` for whatever it is now',
};

const IDEMPOTENCY_KEY: JsonSchema = {
  name: 'Idempotency-Key',
  in: 'header',
  // A preview does without.
  required: false,
  schema: { type: 'string', minLength: 8, maxLength: 128 },
  description: 'Of a request that changes something: within a day it happens once, and is answered the same each time',
};

const LAST_EVENT_ID: JsonSchema = {
  name: 'Last-Event-ID',
  in: 'header',
  required: false,
  schema: { type: 'string' },
  description: '`id` of the last event that the caller has: the stream goes on after it',
};

const ACCEPTED: JsonSchema = {
  description: 'A job has begun',
  headers: { location: { schema: { type: 'string' }, description: 'Where the job is' } },
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Job' } } },
};

const ENTITY_TAG_HEADER = {
  etag: { schema: { type: 'string' }, description: 'Changes with the body; another caller has another one' },
};

export function openApiOf(routes: readonly Route[]): JsonSchema {
  const components: Record<string, JsonSchema> = {};
  const toSchema: ToSchema = (schema, io) => hoist(z.toJSONSchema(schema, { io }) as JsonSchema, components);
  const problem = toSchema(problemSchema, 'output');
  const problems = [...new Set(routes.flatMap(problemsOf))].toSorted();
  const paths: Record<string, JsonSchema> = {};
  for (const route of routes) {
    const path = (paths[templateOf(route.path)] ??= {}) as Record<string, unknown>;
    path[(route.method ?? 'GET').toLowerCase()] = operationOf(route, toSchema);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Latchkey management API',
      version: API_VERSION,
      description: 'What an administrator does with the registry of a Latchkey auth-server. See docs/API.md.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      { url: 'http://localhost', description: 'The unix socket of `api.socket`; the host name does not matter' },
      { url: 'https://plant.example:8443', description: 'The gateway: a host of `api.gateway.hosts`' },
    ],
    security: [{}, { token: [] }],
    tags: [...new Set(routes.map(tagOf))].map((name) => ({ name, description: TAGS[name] })),
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'An API token; none on the unix socket for users' },
      },
      responses: Object.fromEntries(
        problems.map((kind) => [
          kind,
          { description: describeStatus(statusOf(kind)), content: { [PROBLEM_TYPE]: { schema: problem } } },
        ]),
      ),
      schemas: Object.fromEntries(Object.entries(components).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

function operationOf(route: Route, toSchema: ToSchema): JsonSchema {
  const { name, summary, description, scope, method = 'GET', output, isIdempotent, beginsJob, mediaType = JSON_TYPE } = route;
  const isRead = method === 'GET' && mediaType === JSON_TYPE;
  return {
    operationId: name,
    summary,
    ...(description === undefined ? {} : { description }),
    tags: [tagOf(route)],
    'x-scope': scope,
    parameters: parametersOf(route, toSchema),
    ...(method === 'PATCH' || method === 'POST' ? { requestBody: bodyOf(route, toSchema) } : {}),
    responses: {
      200: {
        description: summary,
        ...(isRead ? { headers: ENTITY_TAG_HEADER } : {}),
        content: { [mediaType]: { schema: toSchema(output, 'output') } },
      },
      ...(isIdempotent === undefined && beginsJob === undefined ? {} : { 202: ACCEPTED }),
      ...(isRead ? { 304: { description: 'The body has the entity tag of If-None-Match' } } : {}),
      ...Object.fromEntries(problemsOf(route).map((kind) => [statusOf(kind), { $ref: `#/components/responses/${kind}` }])),
    },
  };
}

function problemsOf(route: Route): readonly ProblemName[] {
  const problems = [...COMMON_PROBLEMS];
  // The body of a change may name an object that does not exist, or that the caller may not see.
  if (namesInPath(route).size > 0 || isChange(route)) problems.push('not-found');
  if (isChange(route)) problems.push('refused', 'body-too-large', 'unsupported-media-type');
  if (route.isIdempotent !== undefined) problems.push('idempotency-key-reused');
  if (needsIfMatch(route)) problems.push('changed-meanwhile', 'precondition-required');
  return problems;
}

function isChange({ method = 'GET' }: Route): boolean {
  return method !== 'GET';
}

function needsIfMatch(route: Route): boolean {
  return isChange(route) && route.version !== undefined;
}

function namesInPath({ path }: Route): ReadonlySet<string> {
  return new Set(path.split('/').flatMap((part) => (part.startsWith(':') ? [part.slice(1)] : [])));
}

function parametersOf(route: Route, toSchema: ToSchema): JsonSchema[] {
  const inPath = namesInPath(route);
  const parameters = Object.entries(route.input.shape).flatMap(([field, fieldSchema]) => {
    if (isChange(route) && !inPath.has(field)) return [];
    const { description: about, ...schema } = toSchema(fieldSchema, 'input');
    const parameter: Record<string, unknown> = { name: field, in: 'path', required: true, schema };
    if (!inPath.has(field)) {
      const required = !fieldSchema.safeParse(undefined).success;
      Object.assign(parameter, { in: 'query', required, style: 'form', explode: true });
    }
    if (about !== undefined) parameter['description'] = about;
    return [parameter];
  });
  if (needsIfMatch(route)) parameters.push(IF_MATCH);
  if (route.isIdempotent !== undefined) parameters.push(IDEMPOTENCY_KEY);
  if (route.mediaType === 'text/event-stream') parameters.push(LAST_EVENT_ID);
  return parameters;
}

/** The fields of the input that are not in the path. */
function bodyOf(route: Route, toSchema: ToSchema): JsonSchema {
  const inPath = namesInPath(route);
  const {
    properties,
    required = [],
    ...schema
  } = toSchema(route.input, 'input') as JsonSchema & {
    readonly properties: JsonSchema;
    readonly required?: readonly string[];
  };
  const needed = required.filter((field) => !inPath.has(field));
  const inBody = {
    ...schema,
    properties: Object.fromEntries(Object.entries(properties).filter(([field]) => !inPath.has(field))),
    ...(needed.length === 0 ? {} : { required: needed }),
  };
  return { required: true, content: { 'application/json': { schema: inBody } } };
}

function tagOf({ name }: Route): string {
  return name.split('.')[0] ?? name;
}

function templateOf(path: string): string {
  return path.replaceAll(/:(\w+)/g, '{$1}');
}

/** Moves named schemas to the components, and replaces them by references. */
function hoist(schema: JsonSchema, components: Record<string, JsonSchema>): JsonSchema {
  const { $schema: _, $defs = {}, id, ...root } = schema;
  for (const [name, { id: __, ...definition }] of Object.entries($defs as Record<string, JsonSchema>))
    components[name] = pointToComponents(definition);
  if (typeof id !== 'string') return pointToComponents(root);
  components[id] = pointToComponents(root);
  return { $ref: `#/components/schemas/${id}` };
}

function pointToComponents(schema: JsonSchema): JsonSchema {
  return JSON.parse(JSON.stringify(schema), (key, value: unknown) =>
    key === '$ref' && typeof value === 'string' ? value.replace('#/$defs/', '#/components/schemas/') : value,
  ) as JsonSchema;
}
