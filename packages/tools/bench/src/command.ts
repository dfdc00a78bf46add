/** Runs one of the auth-server's commands to its end, and watches what it takes. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { install } from './installed.js';
import { resourcesOf } from './machine.js';

/** Between two looks at its memory, in ms. */
const SAMPLE_INTERVAL_MS = 20;

export interface ResourceUsage {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly anonymousPeakMiB: number;
  readonly residentPeakMiB: number;
}

/** From the start of the process to its end. It must succeed. */
export async function measureCommand(args: readonly string[]): Promise<ResourceUsage> {
  const main = await install('auth-server');
  const since = performance.now();
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  let [cpuMs, anonymousPeakMiB, residentPeakMiB] = [0, 0, 0];
  const sampleUsage = (): void => {
    const usage = child.pid === undefined ? undefined : resourcesOf(child.pid);
    if (usage === undefined) return;
    cpuMs = usage.cpuMs;
    anonymousPeakMiB = Math.max(anonymousPeakMiB, usage.anonymousMiB);
    residentPeakMiB = Math.max(residentPeakMiB, usage.residentPeakMiB);
  };
  const timer = setInterval(sampleUsage, SAMPLE_INTERVAL_MS);
  const ended = once(child, 'exit').then(([code]) => [code as number | null, performance.now() - since] as const);
  try {
    const [[code, wallMs]] = await Promise.all([ended, once(child, 'close')]);
    if (code !== 0) throw new Error(`latchkey-auth-server ${args.join(' ')} ended with ${code}:\n${stderr}`);
    return { wallMs, cpuMs, anonymousPeakMiB, residentPeakMiB };
  } finally {
    clearInterval(timer);
  }
}
