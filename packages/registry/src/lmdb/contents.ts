import { scanTable } from '@latchkey/lmdb';
import type { Database } from 'lmdb';
import type { RegistryContents } from '../contents.js';
import { METADATA_NAMES } from '../storage.js';
import type { Tables } from './tables.js';

const PAGE_SIZE = 1_024;

/** All that is in these tables, while nobody writes to them. */
export function readContents(tables: Tables): RegistryContents {
  return {
    chain: tables.audit.chain(),
    nodes: rows(tables.nodes),
    controllers: rows(tables.controllers),
    orders: rows(tables.orders),
    nodeDescriptions: rows(tables.nodeDescriptions),
    recentInitialKeys: rows(tables.recentInitialKeys),
    retiredInitialKeys: retired(tables),
    formerAssignments: tables.assignments.allFormer(),
    nodeActivity: rows(tables.nodeActivity),
    controllerActivity: rows(tables.controllerActivity),
    // Who adopted a master key here serves no more.
    metadata: METADATA_NAMES.filter((name) => name !== 'adopted by')
      .map((name) => [name, tables.metadata.get(name)] as const)
      .filter(([, value]) => value !== undefined),
  };
}

function* rows<R>(table: Database<R, number>): Generator<readonly [number, R]> {
  for (const { key, value } of scanTable(table, 0)) yield [key, value];
}

function* retired({ retiredInitialKeys }: Tables): RegistryContents['retiredInitialKeys'] & Generator {
  for (let after: Parameters<typeof retiredInitialKeys.page>[0]; ;) {
    const page = retiredInitialKeys.page(after, PAGE_SIZE);
    yield* page;
    if (page.length < PAGE_SIZE) return;
    after = page.at(-1)?.[0];
  }
}
