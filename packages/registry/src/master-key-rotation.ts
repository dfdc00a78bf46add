/**
 * Rotation of the registry's master key: everything is resealed while the server runs. A crash only
 * costs time.
 */

import { KEY_KIND, type Keyring, type NextMasterKey, rotate } from '@latchkey/keyring';
import type { AuditEvent } from './audit-chain.js';
import type { ControllerRow, NodeRow } from './model/rows.js';
import type { Registry } from './registry.js';
import { allPages } from './pages.js';
import type { MetadataName } from './storage.js';

/** Rows in one write. */
const PAGE_SIZE = 4_096;

/** Keys of the registry itself. */
const OWN_KEYS = [
  ['initial key id key', KEY_KIND.initialKeyId],
  ['transaction key', KEY_KIND.transactionKey],
] as const satisfies readonly (readonly [MetadataName, number])[];

/** @param progress number of nodes that are done */
export async function rotateMasterKey(registry: Registry, next: NextMasterKey, progress?: (done: number) => void): Promise<void> {
  const { keyring, folder } = registry;
  let events: AuditEvent[] = [];
  await rotate({
    folder,
    metadata: registry.metadata,
    keyring,
    next,
    write: (action) =>
      registry.write({}, () => {
        events = [];
        const result = action();
        return { result, events };
      }),
    refreshSnapshot: () => undefined,
    onBegun: () => void events.push({ what: 'master key rotation started', key: next.key }),
    onFinished: () => void events.push({ what: 'master key rotated', key: next.key }),
    async rewrapAll() {
      await rewrapNodes(registry, progress);
      await rewrapControllers(registry);
      await registry.write({ metadata: OWN_KEYS.map(([name]) => name) }, (found) => {
        const metadata = OWN_KEYS.map(
          ([name, kind]) => [name, keyring.rewrap({ kind, id: 0 }, found.metadata(name) as Uint8Array)] as const,
        );
        return { result: undefined, put: { metadata } };
      });
    },
  });
}

/**
 * A row that is already rewrapped costs one read, so the rotation continues after a crash where it
 * stopped.
 */
async function rewrapNodes(registry: Registry, progress?: (done: number) => void): Promise<void> {
  const { keyring, storage } = registry;
  const isCurrent = ({ key }: NodeRow): boolean => keyring.isUnderCurrentKey(key);
  let done = 0;
  for await (const page of allPages(PAGE_SIZE, (from, limit) => storage.nodePage(from, limit))) {
    const ids = page.filter(([, row]) => !isCurrent(row)).map(([idI]) => idI);
    if (ids.length > 0)
      await registry.write({ nodes: ids }, (found) => {
        const nodes = ids.flatMap((idI): (readonly [number, NodeRow])[] => {
          const row = found.node(idI)?.row;
          return row === undefined || isCurrent(row) ? [] : [[idI, rewrapNode(keyring, idI, row)]];
        });
        return { result: undefined, put: { nodes } };
      });
    progress?.((done += page.length));
  }
}

async function rewrapControllers(registry: Registry): Promise<void> {
  const { keyring, storage } = registry;
  for await (const page of allPages(PAGE_SIZE, (from, limit) => storage.controllerPage(from, limit))) {
    const ids = page.map(([idC]) => idC);
    await registry.write({ controllers: ids }, (found) => {
      const controllers = ids.flatMap((idC): (readonly [number, ControllerRow])[] => {
        const row = found.controller(idC)?.row;
        return row === undefined ? [] : [[idC, rewrapController(keyring, idC, row)]];
      });
      return { result: undefined, put: { controllers } };
    });
  }
}

function rewrapNode(keyring: Keyring, id: number, row: NodeRow): NodeRow {
  return {
    ...row,
    key: keyring.rewrap({ kind: KEY_KIND.node, id }, row.key),
    // Sealed with the key, each time.
    ...(row.half === undefined ? {} : { half: keyring.rewrap({ kind: KEY_KIND.installerHalf, id }, row.half) }),
  };
}

function rewrapController(keyring: Keyring, id: number, row: ControllerRow): ControllerRow {
  const { stagedSkCs } = row;
  return {
    ...row,
    skCs: keyring.rewrap({ kind: KEY_KIND.controller, id }, row.skCs),
    ...(stagedSkCs === undefined ? {} : { stagedSkCs: keyring.rewrap({ kind: KEY_KIND.stagedController, id }, stagedSkCs) }),
  };
}
