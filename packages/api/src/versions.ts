/**
 * Versions of resources, for optimistic concurrency. GET returns one in the entity tag, and a
 * change sends it back as If-Match. It is compared inside the transaction of the change, so no
 * other change can intervene. For a thing in a store of the API, the operation compares it.
 */

import type { InstallerStore, StoredInstaller } from '@latchkey/operations';
import { parseId } from '@latchkey/protocol';
import type { Precondition, Registry, Snapshot } from '@latchkey/registry';
import type { Principal } from './access.js';
import type { OpaqueValues } from './opaque.js';
import { Problem } from './problem.js';

/** One thing in the registry. */
export interface VersionedThing {
  readonly keys: Precondition['keys'];
  /** Changes with what an administrator sees of the thing. `undefined` if it does not exist. */
  readonly versionOf: (found: Snapshot) => string | undefined;
}

/** Stores of the API that have versioned things. */
interface VersionedStores {
  readonly installers: InstallerStore;
}

/** One thing in a store of the API. */
export interface StoredThing {
  /** As `versionOf`. */
  readonly storedVersionOf: (stores: VersionedStores) => string | undefined;
}

/** Throws if a thing that has this version is not the one that the caller has seen. */
export type VersionCheck = (version: string) => void;

export function nodeVersion({ id }: { readonly id: string }): VersionedThing {
  const idI = parseId(id) ?? 0;
  return {
    keys: { nodes: [idI], nodeDescriptions: [idI] },
    versionOf(found) {
      const row = found.node(idI)?.row;
      return row && `node ${id} ${row.order} ${row.entry} ${found.nodeDescription(idI)?.entry ?? 0}`;
    },
  };
}

export function orderVersion({ order }: { readonly order: number }): VersionedThing {
  return {
    keys: { orders: [order] },
    versionOf(found) {
      const row = found.order(order)?.row;
      // Its texts change without an entry in its row.
      return row && `order ${order} ${row.entry} ${JSON.stringify([row.contact, row.site])}`;
    },
  };
}

export function controllerVersion({ id }: { readonly id: string }): VersionedThing {
  const idC = parseId(id) ?? 0;
  return {
    keys: { controllers: [idC] },
    versionOf(found) {
      const row = found.controller(idC)?.row;
      if (row === undefined) return undefined;
      // Left out: it changes when nodes are assigned, and no reader sees it.
      const { assigning: _, ...seen } = row;
      return `controller ${id} ${JSON.stringify(seen)}`;
    },
  };
}

export function installerVersion({ installer }: { readonly installer: string }): StoredThing {
  return {
    storedVersionOf({ installers }) {
      const stored = installers.find(installer);
      return stored && versionOfInstaller(stored);
    },
  };
}

export function versionOfInstaller({ id, revision }: Pick<StoredInstaller, 'id' | 'revision'>): string {
  return `installer ${id} ${revision}`;
}

/** The part of an entity tag that If-Match compares. */
export async function versionTag(
  thing: VersionedThing | StoredThing,
  registry: Registry,
  { opaque, ...stores }: VersionedStores & { readonly opaque: OpaqueValues },
  principal: Principal,
): Promise<string | undefined> {
  const version = 'keys' in thing ? await registryVersion(thing, registry) : thing.storedVersionOf(stores);
  return version === undefined ? undefined : opaque.tag(principal, Buffer.from(version));
}

async function registryVersion({ keys, versionOf }: VersionedThing, { storage }: Registry): Promise<string | undefined> {
  const read = storage.read(keys);
  // A snapshot must be used before anything is awaited.
  return read instanceof Promise ? versionOf(await read) : versionOf(read);
}

/**
 * What If-Match asks of a change.
 *
 * @throws Problem without If-Match
 */
export function versionCheckOf(ifMatch: string | undefined, opaque: OpaqueValues, principal: Principal): VersionCheck {
  if (ifMatch === undefined)
    throw new Problem('precondition-required', {
      advice: 'GET it, and send its ETag as If-Match: the change is then refused if it was changed since.',
    });
  const wanted = new Set(ifMatch.split(',').map((tag) => /^"([\w-]+)(?:\.[\w-]+)?"$/.exec(tag.trim())?.[1]));
  return (version) => {
    if (ifMatch.trim() === '*' || wanted.has(opaque.tag(principal, Buffer.from(version)))) return;
    throw new Problem('changed-meanwhile', { advice: 'GET it again, and send its ETag of now.' });
  };
}

/** The check inside the transaction of a change of the registry. */
export function preconditionOf({ keys, versionOf }: VersionedThing, check: VersionCheck): Precondition {
  return {
    keys,
    check(found) {
      const version = versionOf(found);
      // The operation says that it does not exist.
      if (version !== undefined) check(version);
    },
  };
}
