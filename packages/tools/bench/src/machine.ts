/** What a run was measured on. */

import { readdirSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { UsageFailure } from '@latchkey/runtime/failure';

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryMiB: number;
  readonly system: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? arch(),
    cores: availableParallelism(),
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    system: `${type()} ${release()} ${arch()}`,
    node: process.version,
  };
}

/** Processes that want a core, on average of the last minute. */
export function load(): number {
  return loadavg()[0] ?? 0;
}

/** File systems in memory (statfs(2)). */
const IN_MEMORY_FILE_SYSTEMS: ReadonlySet<number> = new Set([0x0102_1994, 0x8584_58f6]);

/** @throws UsageFailure where a durable write would cost nothing */
export async function assertOnDisk(folder: string): Promise<void> {
  if (!IN_MEMORY_FILE_SYSTEMS.has((await statfs(folder)).type)) return;
  throw new UsageFailure(`${folder} is kept in memory: a durable write costs nothing there`, {
    advice: 'Name a folder on a disk with --folder.',
  });
}

/** Resources of a process that runs, from /proc (proc(5)); `undefined` once it is gone. */
export interface Resources {
  /** User and system time so far, ms. */
  readonly cpuMs: number;
  readonly anonymousMiB: number;
  /**
   * Pages of files that are mapped: programs, and a store. The system takes them back when it wants
   * to.
   */
  readonly mappedMiB: number;
  readonly residentMiB: number;
  /** The most it ever had. */
  readonly residentPeakMiB: number;
}

/** Ticks of /proc/PID/stat: USER_HZ is 100 wherever Linux runs. */
const TICK_MS = 10;

export function resourcesOf(pid: number): Resources | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const mebibytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
    // Behind the name in parentheses: state is field 3, utime and stime are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const found = {
      cpuMs: Math.max(threadsCpuMs(pid), (Number(fields[11]) + Number(fields[12])) * TICK_MS),
      anonymousMiB: mebibytes('RssAnon'),
      mappedMiB: mebibytes('RssFile'),
      residentMiB: mebibytes('VmRSS'),
      residentPeakMiB: mebibytes('VmHWM'),
    };
    // One that has ended but was not waited for has no memory any more.
    return Number.isNaN(found.anonymousMiB) ? undefined : found;
  } catch {
    return undefined;
  }
}

/** CPU time of the processes that this one started and waited for, ms. 0: it is gone. */
export function childrenCpuMs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // cutime and cstime are fields 16 and 17.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[13]) + Number(fields[14])) * TICK_MS;
  } catch {
    return 0;
  }
}

/**
 * Of the threads that are there, in ns where the kernel counts them: ticks are too coarse for a
 * short run. 0: it does not.
 */
function threadsCpuMs(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((ms, thread) => ms + threadCpuMs(pid, thread), 0);
  } catch {
    return 0;
  }
}

/** @throws where the kernel does not count it, or the thread is gone */
function threadCpuMs(pid: number, thread: number | string): number {
  return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
}

/** Of the thread that runs JavaScript, so far. */
export function mainThreadCpuMs(pid: number): number {
  return threadCpuMs(pid, pid);
}
