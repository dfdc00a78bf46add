import { type ContentPage, isPortable, type RegistryContents, TABLE_NAMES, type TableName, type TableRows } from '../contents.js';
import { MemoryState, pageOf, retiredPageOf } from './memory-state.js';

/** All that is there now, whatever comes later. */
export function readContents(now: MemoryState): RegistryContents {
  const state = new MemoryState(now);
  const { start, head } = state;
  return { start, head, pages: pagesOf(state), close: () => Promise.resolve() };
}

async function* pagesOf(state: MemoryState): AsyncGenerator<ContentPage> {
  const all = <R>(table: ReadonlyMap<number, R>): (readonly [number, R])[] => [...pageOf(table, 0, Infinity)];
  const tables: { readonly [T in TableName]: readonly TableRows[T][] } = {
    metadata: [...state.metadata].filter(([name]) => isPortable(name)).map(([name, { value }]) => [name, value] as const),
    controllers: all(state.controllers),
    orders: all(state.orders),
    nodes: all(state.nodes),
    nodeDescriptions: all(state.nodeDescriptions),
    recentInitialKeys: all(state.recentInitialKeys),
    retiredInitialKeys: retiredPageOf(state, undefined, Infinity),
    formerAssignments: state.allFormer(),
    nodeActivity: all(state.nodeActivity),
    unknownNodeActivity: all(state.unknownNodeActivity),
    controllerActivity: all(state.controllerActivity),
    entries: [...state.ascending(0)],
  };
  for (const table of TABLE_NAMES) if (tables[table].length > 0) yield { table, rows: tables[table] } as ContentPage;
}
