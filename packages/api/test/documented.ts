// Compares what the API answers with its OpenAPI document, by a validator that is not ours.

import { readFileSync } from 'node:fs';
import { type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const DOCUMENT = '/v1/openapi.json';
const METHODS_WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PATCH']);

/** Statuses of a method that a path does not have. */
const NO_METHOD: ReadonlySet<number> = new Set([404, 405]);

interface Media {
  readonly content?: Readonly<Record<string, unknown>>;
}
interface Operation {
  readonly requestBody?: Media;
  readonly responses: Readonly<Record<string, Media & { readonly $ref?: string }>>;
}

const document = JSON.parse(readFileSync(new URL('../openapi.json', import.meta.url), 'utf8')) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly responses: Readonly<Record<string, Media>> };
};

const templates = Object.keys(document.paths).map((template) => ({
  template,
  pattern: new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
}));

let ajv: Ajv2020 | undefined;
const validators = new Map<string, ValidateFunction>();

interface Exchanged {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly requestBody: string | undefined;
  readonly status: number;
  readonly contentType: string | undefined;
  /** `undefined` unless it is JSON. */
  readonly body: unknown;
}

/**
 * Gives what the document does not say of an exchange; nothing for a path that it does not have.
 */
export function undocumented({ method, path, requestBody, status, contentType, body }: Exchanged): string | undefined {
  const [pathname = ''] = path.split('?', 1);
  const found = Object.hasOwn(document.paths, pathname)
    ? pathname
    : templates.find(({ pattern }) => pattern.test(pathname))?.template;
  if (found === undefined || pathname === DOCUMENT) return undefined;
  const operation = document.paths[found]?.[method.toLowerCase()];
  // HEAD goes with GET. A method that a path does not have is answered as a path that does not
  // exist, or that it does not have it.
  if (operation === undefined)
    return method === 'HEAD' || NO_METHOD.has(status) ? undefined : `${method} ${found} is answered ${status}`;
  const at = ['paths', found, method.toLowerCase()];
  if (status < 300 && METHODS_WITH_BODY.has(method)) {
    const fault = faultOf([...at, 'requestBody', 'content', 'application/json', 'schema'], JSON.parse(requestBody ?? '{}'));
    if (fault !== undefined) return `${method} ${found}: the body that was accepted: ${fault}`;
  }
  const response = operation.responses[status];
  if (response === undefined) return `${method} ${found} is answered ${status}`;
  const shared = response.$ref?.split('/').at(-1);
  const { content } = shared === undefined ? response : (document.components.responses[shared] ?? {});
  const [mediaType = ''] = contentType?.split(';', 1) ?? [];
  if (content === undefined) return body === undefined ? undefined : `${method} ${found}: ${status} has a body`;
  if (!Object.hasOwn(content, mediaType)) return `${method} ${found}: ${status} is ${mediaType}`;
  if (body === undefined) return undefined;
  const where = shared === undefined ? [...at, 'responses', String(status)] : ['components', 'responses', shared];
  const fault = faultOf([...where, 'content', mediaType, 'schema'], body);
  return fault === undefined ? undefined : `${method} ${found}: ${status}: ${fault}`;
}

function faultOf(place: readonly string[], value: unknown): string | undefined {
  const pointer = place.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');
  if (ajv === undefined) {
    ajv = new Ajv2020({ strict: false, allErrors: true });
    addFormats.default(ajv);
    ajv.addSchema(document, 'openapi');
  }
  let validate = validators.get(pointer);
  if (validate === undefined) {
    validate = ajv.compile({ $ref: `openapi#/${pointer}` });
    validators.set(pointer, validate);
  }
  return validate(value) ? undefined : ajv.errorsText(validate.errors);
}
