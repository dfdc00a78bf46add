// packages/api/openapi.json: that it is of this API, and what others make of it: two validators,
// and a client whose types are generated from it.

import { readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createConfig, lint } from '@redocly/openapi-core';
import { Validator } from '@seriousme/openapi-schema-validator';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import openapiTypescript, { astToString } from 'openapi-typescript';
import { expect, it } from 'vitest';
import { ask, createToken, LocalApi } from './local-api.js';

const DOCUMENT = new URL('../openapi.json', import.meta.url);
const committed: unknown = JSON.parse(readFileSync(DOCUMENT, 'utf8'));
const CLIENT = new URL('generated-client/client.ts', import.meta.url);
/** Of `CLIENT`, as a file without the generated types sees it. */
interface ClientModule {
  readonly Administrator: new (
    baseUrl: string,
    token: string,
    fetch: (request: Request) => Promise<Response>,
  ) => {
    readonly nodes: (states: readonly string[], limit: number) => Promise<{ readonly id: string }[]>;
    readonly disable: (id: string) => Promise<string | undefined>;
    readonly disableOrder: (order: number) => Promise<object>;
  };
}
const TSC = fileURLToPath(new URL('../../../node_modules/typescript/bin/tsc', import.meta.url));

it('packages/api/openapi.json is what the API says of itself; `pnpm openapi` writes it', async () => {
  const fixture = await AdminFixture.open();
  const api = await LocalApi.start(fixture.registry.folder);
  expect((await api.get('/v1/openapi.json')).body).toEqual(committed);
});

it('the document has no reference without a target and no operation ID twice', () => {
  const { paths, components } = committed as {
    paths: Record<string, Record<string, { operationId: string }>>;
    components: { schemas: Record<string, unknown> };
  };
  const references = [...JSON.stringify(committed).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(
    ([, name = '']) => name,
  );
  expect(references.length).toBeGreaterThan(10);
  expect(references.filter((name) => !Object.hasOwn(components.schemas, name))).toEqual([]);
  const ids = Object.values(paths).flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
  expect(new Set(ids).size).toBe(ids.length);
});

it('the document is as the schema of OpenAPI 3.1 says', async () => {
  const validator = new Validator();
  expect(await validator.validate(fileURLToPath(DOCUMENT))).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

it('the linter of Redocly finds nothing in it', async () => {
  const config = await createConfig({
    extends: ['recommended-strict'],
    // The unix socket has no host name of its own.
    rules: { 'no-server-example.com': 'off' },
  });
  const problems = await lint({ ref: fileURLToPath(DOCUMENT), config });
  expect(problems.map(({ ruleId, message, location: [at] }) => [ruleId, message, at?.pointer])).toEqual([]);
});

it('a client is checked against the types that openapi-typescript makes of it, and administers nodes', async () => {
  const folder = await tempFolder();
  await writeFile(join(folder, 'schema.d.ts'), astToString(await openapiTypescript(DOCUMENT)));
  const compilerOptions = {
    // `./schema.js` of the client is in this folder.
    rootDirs: [fileURLToPath(new URL('.', CLIENT)), folder],
    lib: ['es2023', 'dom'],
    noEmit: true,
    composite: false,
    isolatedDeclarations: false,
    typeRoots: [fileURLToPath(new URL('../../../node_modules/@types', import.meta.url))],
  };
  const base = fileURLToPath(new URL('../../../tsconfig.base.json', import.meta.url));
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: base, compilerOptions, files: [fileURLToPath(CLIENT)] }),
  );
  const checked = spawnSync(process.execPath, [TSC, '-p', folder], { encoding: 'utf8' });
  expect([checked.stdout, checked.status]).toEqual(['', 0]);

  const fixture = await AdminFixture.open();
  const order = await fixture.order({ 1: newSecret(), 2: newSecret(), 3: newSecret(), 4: newSecret(), 5: newSecret() });
  const api = await LocalApi.start(fixture.registry.folder);
  const { text: token } = await createToken(fixture.registry.folder, { scopes: ['read', 'nodes'] });
  const overSocket = async (request: Request): Promise<Response> => {
    const { method, url } = request;
    const { pathname, search } = new URL(url);
    const body = method === 'GET' ? undefined : await request.text();
    const target = { socketPath: api.remoteSocket };
    const sent = { method, headers: Object.fromEntries(request.headers), ...(body === undefined ? {} : { body }) };
    const { status, headers, text } = await ask(target, pathname + search, sent);
    return new Response(text, { status, headers: Object.entries(headers).map(([name, value]) => [name, String(value)]) });
  };
  const { Administrator } = (await import(/* @vite-ignore */ CLIENT.href)) as ClientModule;
  const administrator = new Administrator('http://localhost', token, overSocket);
  const enrolled = await administrator.nodes(['enrolled'], 2);
  expect(enrolled.map(({ id }) => id)).toEqual(['00000001', '00000002', '00000003', '00000004', '00000005']);
  expect(await administrator.disable('00000002')).toBe('urn:latchkey:problem:changed-meanwhile');
  expect(await administrator.disableOrder(order)).toMatchObject({ state: 'done' });
  expect((await administrator.nodes(['disabled'], 100)).map(({ id }) => id)).toHaveLength(5);
});
