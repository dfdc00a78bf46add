/**
 * Runs inside of a daemon, before its program (`node --import`): profiles it when the process that
 * measures asks for it.
 */

import { type HeapProfiler, Session, type Profiler } from 'node:inspector/promises';
import type { FunctionCost, ProfilerAnswer, ProfilerRequest } from './profile.js';

/** Between two looks at the stack, in microseconds. */
const CPU_INTERVAL_US = 250;
/** Between two looks at an allocation, in octets, on average. */
const MEMORY_INTERVAL = 8_192;

const session = new Session();
session.connect();
let running: 'cpu' | 'memory' | undefined;

async function obey(request: ProfilerRequest): Promise<ProfilerAnswer> {
  switch (request) {
    case 'start cpu':
      running = 'cpu';
      await session.post('Profiler.enable');
      await session.post('Profiler.setSamplingInterval', { interval: CPU_INTERVAL_US });
      await session.post('Profiler.start');
      return [];
    case 'start memory':
      running = 'memory';
      await session.post('HeapProfiler.startSampling', {
        samplingInterval: MEMORY_INTERVAL,
        // What is garbage by the end of a join was allocated all the same.
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      });
      return [];
    case 'stop':
      if (running === 'cpu') return ofCpu((await session.post('Profiler.stop')).profile);
      return ofMemory((await session.post('HeapProfiler.stopSampling')).profile.head);
  }
}

/** The time between two samples belongs to the function that the first one found. */
function ofCpu({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): FunctionCost[] {
  const taken = new Map<number, number>();
  samples.forEach((id, i) => taken.set(id, (taken.get(id) ?? 0) + (timeDeltas[i + 1] ?? 0)));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const urls = new Map<number, string>();
  // V8 lists a function before what it calls.
  for (const { id, callFrame, children = [] } of nodes) {
    const url = urlOf(callFrame, urls.get(id) ?? '');
    urls.set(id, url);
    for (const child of children) urls.set(child, url);
  }
  return [...taken].map(([id, cost]) => ({ url: urls.get(id) ?? '', name: byId.get(id)?.callFrame.functionName ?? '', cost }));
}

function ofMemory(head: HeapProfiler.SamplingHeapProfileNode): FunctionCost[] {
  const costs: FunctionCost[] = [];
  const left = [{ node: head, caller: '' }];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { callFrame, selfSize, children } = next.node;
    const url = urlOf(callFrame, next.caller);
    if (selfSize > 0) costs.push({ url, name: callFrame.functionName, cost: selfSize });
    left.push(...children.map((node) => ({ node, caller: url })));
  }
  return costs;
}

/** A compiled function has no file: it counts as its caller's. V8's own work is nobody's. */
function urlOf({ url, functionName }: { readonly url: string; readonly functionName: string }, caller: string): string {
  return url === '' && !functionName.startsWith('(') ? caller : url;
}

process.on('message', (request: ProfilerRequest) => {
  void obey(request).then((answer) => process.send?.(answer));
});
// A daemon ends when it has nothing left to do: this must not keep it.
process.channel?.unref();
