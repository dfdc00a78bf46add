/** Which room of the house a function is in: a package of ours, a library, or a part of Node.js. */

import type { FunctionCost } from './profile.js';

/** Not CPU time: the process waits. */
const IDLE = '(idle)';

const V8_ROOMS: Readonly<Record<string, string>> = {
  '(garbage collector)': 'garbage collection',
  '(program)': 'Node.js: event loop and system calls',
};

/** By the beginning of the URL, the first that fits. */
const NODE_ROOMS: readonly (readonly [prefix: RegExp, room: string])[] = [
  [/^node:(internal\/)?(dgram|net|dns)/, 'Node.js: sockets'],
  [/^node:(internal\/)?timers/, 'Node.js: timers'],
  [/^node:internal\/process\/(promises|task_queues)/, 'Node.js: promises'],
  [/^node:(internal\/)?(streams?|events|buffer|string_decoder)/, 'Node.js: streams, events, buffers'],
  [/^node:/, 'Node.js: all else'],
];

/** Packages whose folders are rooms of their own. */
const DIVIDED: ReadonlySet<string> = new Set(['registry', 'runtime']);

/** @returns `undefined` for time in which nothing was done */
export function roomOf({ url, name }: Pick<FunctionCost, 'url' | 'name'>): string | undefined {
  if (name === IDLE) return undefined;
  const ours = /\/packages\/([\w-]+)\/dist\/(?:([\w-]+)\/)?[^/]+$/.exec(url);
  if (ours !== null) {
    const [, room = '', folder] = ours;
    return folder !== undefined && DIVIDED.has(room) ? `${room}/${folder}` : room;
  }
  // The last one: pnpm keeps a library in the node_modules of its own version.
  const library = /.*\/node_modules\/((?:@[\w.-]+\/)?[\w.-]+)\//.exec(url);
  if (library !== null) return `library: ${library[1]}`;
  return NODE_ROOMS.find(([prefix]) => prefix.test(url))?.[1] ?? V8_ROOMS[name] ?? 'Node.js: all else';
}

/** What each room took. */
export function byRoom(costs: readonly FunctionCost[]): Map<string, number> {
  const rooms = new Map<string, number>();
  for (const cost of costs) {
    const room = roomOf(cost);
    if (room !== undefined) rooms.set(room, (rooms.get(room) ?? 0) + cost.cost);
  }
  return rooms;
}
