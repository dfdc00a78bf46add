/**
 * What a durable write of the store takes alone: a row of a node's size, on the disk before it
 * counts, so many under way at once.
 */

import { rm } from 'node:fs/promises';
import { openStore } from '@latchkey/lmdb';
import type { Measurement } from '../interleave.js';
import { ROW_LENGTH } from './sizes.js';

export async function measureWrites(folder: string, writes: number, inFlight: number): Promise<Measurement<'wallUs' | 'cpuUs'>> {
  const env = await openStore<Buffer, number>(folder, { keyEncoding: 'uint32', encoding: 'binary' });
  try {
    const row = Buffer.alloc(ROW_LENGTH, 1);
    let next = 0;
    const writer = async (): Promise<void> => {
      while (next < writes) {
        const key = next++;
        await env.transaction(() => env.putSync(key, row));
      }
    };
    const [since, cpu] = [performance.now(), process.cpuUsage()];
    await Promise.all(Array.from({ length: inFlight }, writer));
    const wallMs = performance.now() - since;
    const { user, system } = process.cpuUsage(cpu);
    return { wallUs: (wallMs * 1000) / writes, cpuUs: (user + system) / writes };
  } finally {
    await env.close();
    await rm(folder, { recursive: true, force: true });
  }
}
