/** Runs one of the auth-server's commands to its end, and watches what it takes. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { install } from './installed.js';
import { resourcesOf } from './machine.js';

/** Between two looks at its memory, in ms. */
const LOOK_EVERY_MS = 20;

export interface Taken {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly anonymousPeakMiB: number;
  readonly residentPeakMiB: number;
}

/** From the start of the process to its end. It must succeed. */
export async function measureCommand(args: readonly string[]): Promise<Taken> {
  const main = await install('auth-server');
  const since = performance.now();
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  let [cpuMs, anonymousPeakMiB, residentPeakMiB] = [0, 0, 0];
  const look = (): void => {
    const taken = child.pid === undefined ? undefined : resourcesOf(child.pid);
    if (taken === undefined) return;
    cpuMs = taken.cpuMs;
    anonymousPeakMiB = Math.max(anonymousPeakMiB, taken.anonymousMiB);
    residentPeakMiB = Math.max(residentPeakMiB, taken.residentPeakMiB);
  };
  const timer = setInterval(look, LOOK_EVERY_MS);
  const ended = once(child, 'exit').then(([code]) => [code as number | null, performance.now() - since] as const);
  try {
    const [[code, wallMs]] = await Promise.all([ended, once(child, 'close')]);
    if (code !== 0) throw new Error(`latchkey-auth-server ${args.join(' ')} ended with ${code}:\n${words}`);
    return { wallMs, cpuMs, anonymousPeakMiB, residentPeakMiB };
  } finally {
    clearInterval(timer);
  }
}
