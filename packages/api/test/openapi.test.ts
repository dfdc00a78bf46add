import { readFileSync } from 'node:fs';
import { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { expect, it } from 'vitest';
import { LocalApi } from './local-api.js';

const committed: unknown = JSON.parse(readFileSync(new URL('../openapi.json', import.meta.url), 'utf8'));

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
