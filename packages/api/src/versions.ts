/**
 * Versions of resources, for optimistic concurrency. GET returns one in the entity tag, and a
 * change sends it back as If-Match. It is compared inside the transaction of the change, so no
 * other change can intervene.
 */

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

/** The part of an entity tag that If-Match compares. */
export async function versionTag(
  { keys, versionOf }: VersionedThing,
  registry: Registry,
  opaque: OpaqueValues,
  principal: Principal,
): Promise<string | undefined> {
  const read = registry.storage.read(keys);
  // A snapshot must be used before anything is awaited.
  const version = read instanceof Promise ? versionOf(await read) : versionOf(read);
  return version === undefined ? undefined : opaque.tag(principal, Buffer.from(version));
}

/**
 * What If-Match asks of a change.
 *
 * @throws Problem without If-Match
 */
export function preconditionOf(
  { keys, versionOf }: VersionedThing,
  ifMatch: string | undefined,
  opaque: OpaqueValues,
  principal: Principal,
): Precondition {
  if (ifMatch === undefined)
    throw new Problem('precondition-required', {
      advice: 'GET it, and send its ETag as If-Match: the change is then refused if it was changed since.',
    });
  const wanted = new Set(ifMatch.split(',').map((tag) => /^"([\w-]+)(?:\.[\w-]+)?"$/.exec(tag.trim())?.[1]));
  return {
    keys,
    check(found) {
      const version = versionOf(found);
      // The operation says that it does not exist.
      if (version === undefined || ifMatch.trim() === '*') return;
      if (wanted.has(opaque.tag(principal, Buffer.from(version)))) return;
      throw new Problem('changed-meanwhile', { advice: 'GET it again, and send its ETag of now.' });
    },
  };
}
