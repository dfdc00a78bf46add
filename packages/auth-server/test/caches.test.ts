// Proves that what is kept of a controller is what the registry has now, that replaced keys are
// wiped once unused, and that it has a bound; and that nobody else leaves its keys open.

import type { Secret } from '@latchkey/protocol';
import { describe, expect, it } from 'vitest';
import { addController, stageControllerKey, removeController } from '@latchkey/operations';
import { ControllerCache } from '../src/server/controller-cache.js';
import type { Registry } from '@latchkey/registry';
import { controller, copyOf, ID_C, MASTER, newRegistry, newSecret, secretsMade } from '@latchkey/test-support/registry-fixtures';

/** More than are kept. */
const MANY = 257;

async function withController(): Promise<{ registry: Registry; skCs: Secret }> {
  const registry = await newRegistry();
  const skCs = newSecret();
  await addController(registry, controller({ skCs: copyOf(skCs) }));
  return { registry, skCs };
}

/** SK_cs as it is handed out; not a copy, to see what becomes of it. */
async function currentSkCs(cache: ControllerCache, idC = ID_C): Promise<Secret | undefined> {
  return cache.use(idC, (found) => Promise.resolve(found?.skCs));
}

describe('kept controllers', () => {
  it('are opened once', async () => {
    const { registry, skCs } = await withController();
    const cache = new ControllerCache(registry);
    const first = await currentSkCs(cache);
    expect(first?.equals(skCs)).toBe(true);
    expect(await currentSkCs(cache)).toBe(first);
    expect(await currentSkCs(cache, ID_C + 1)).toBeUndefined();
  });

  it('are wiped when their key is replaced, once no request uses them', async () => {
    const { registry, skCs } = await withController();
    const cache = new ControllerCache(registry);
    const next = newSecret();
    let old: Secret | undefined;
    await cache.use(ID_C, async (found) => {
      old = found?.skCs;
      await stageControllerKey(registry, ID_C, copyOf(next));
      await cache.use(ID_C, (now) => {
        expect(now?.skCs).not.toBe(old);
        expect(now?.stagedSkCs?.equals(next)).toBe(true);
        return Promise.resolve();
      });
      expect(old?.equals(skCs)).toBe(true);
    });
    expect(() => old?.expose()).toThrow('a wiped key was used');
    expect((await currentSkCs(cache))?.equals(skCs)).toBe(true);
  });

  it('are wiped when their key is replaced, though requests of other controllers are under way', async () => {
    const { registry } = await withController();
    await addController(registry, controller({ idC: ID_C + 1 }));
    const cache = new ControllerCache(registry);
    await cache.use(ID_C + 1, async (other) => {
      const old = await currentSkCs(cache);
      await stageControllerKey(registry, ID_C, newSecret());
      const now = await currentSkCs(cache);
      expect(() => old?.expose()).toThrow('a wiped key was used');
      expect(() => now?.expose()).not.toThrow();
      expect(() => other?.skCs.expose()).not.toThrow();
    });
  });

  it('are wiped when they are removed, and when a request fails meanwhile', async () => {
    const { registry } = await withController();
    const cache = new ControllerCache(registry);
    const old = await currentSkCs(cache);
    await removeController(registry, ID_C);
    await expect(cache.use(ID_C, () => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect(() => old?.expose()).toThrow('a wiped key was used');
    expect(await currentSkCs(cache)).toBeUndefined();
  });

  it('are wiped on closing, after the last request', async () => {
    const { registry, skCs } = await withController();
    const cache = new ControllerCache(registry);
    let used: Secret | undefined;
    await cache.use(ID_C, (found) => {
      used = found?.skCs;
      cache.close();
      expect(used?.equals(skCs)).toBe(true);
      return Promise.resolve();
    });
    expect(() => used?.expose()).toThrow('a wiped key was used');
  });

  it('are wiped all when there are too many, but for those in use', async () => {
    const registry = await newRegistry();
    for (let idC = 1; idC <= MANY; idC++) await addController(registry, controller({ idC }));
    const cache = new ControllerCache(registry);
    let used: Secret | undefined;
    await cache.use(1, async (found) => {
      used = found?.skCs;
      const unused: (Secret | undefined)[] = [];
      for (let idC = 2; idC < MANY; idC++) unused.push(await currentSkCs(cache, idC));
      expect(unused.map(String)).not.toContain('[secret wiped]');
      const last = await currentSkCs(cache, MANY);
      expect(new Set(unused.map(String))).toEqual(new Set(['[secret wiped]']));
      for (const key of [used, last]) expect(() => key?.expose()).not.toThrow();
    });
    expect(() => used?.expose()).toThrow('a wiped key was used');
  });
});

it('a controller is told of with no key opened, and whoever compares one leaves none open', async () => {
  const registry = await newRegistry();
  const [added, next] = [controller(), newSecret()];
  await addController(registry, added);
  await stageControllerKey(registry, ID_C, next);
  const made = secretsMade();
  expect((await registry.controllers()).map(({ idC }) => idC)).toEqual([ID_C]);
  expect(made()).toEqual([]);
  for (const key of [added.skCs, next]) expect(await registry.hasCredential(ID_C, key)).toBe(true);
  expect([await registry.hasCredential(ID_C, MASTER), await registry.hasCredential(ID_C + 1, next)]).toEqual([false, false]);
  for (const key of [added.skCs, MASTER, next]) await registry.activateStagedKey(ID_C, key);
  expect(await registry.hasCredential(ID_C, added.skCs)).toBe(false);
  expect(new Set(made())).toEqual(new Set(['[secret wiped]']));
});
