// Proves that a bill of materials tells which package is not as it was published.

import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dependencyIn } from '../src/dependency.js';
import { ROOT } from '../src/product.js';
import { sbom } from '../src/sbom.js';

interface Component {
  readonly name: string;
  readonly version: string;
  readonly properties?: unknown;
}

it('names the patch of a package that has one, and of no other', async () => {
  const folders = ['protocol/node_modules/@noble/ciphers', 'runtime/node_modules/pino'];
  const dependencies = folders.map((folder) => dependencyIn(realpathSync(join(ROOT, 'packages', folder))));
  const { components } = JSON.parse(await sbom('latchkey-controller', '0.1.0', dependencies)) as { components: Component[] };
  const told = components.map(({ name, properties }) => [name, properties]);
  const patch = `patches/@noble__ciphers@${dependencies[0]?.version}.patch`;
  expect(new Map(told as [string, unknown][])).toEqual(
    new Map<string, unknown>([
      ['ciphers', [{ name: 'latchkey:patch', value: patch }]],
      ['pino', undefined],
    ]),
  );
});
