import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Failure, systemCode } from '@latchkey/runtime/failure';

export interface ToolOptions {
  /** What it is run for, in a message: `pack the tarball`. */
  readonly purpose: string;
  readonly advice?: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs a program of the system to its end, and returns its standard output. Fails in words where it
 * is missing, or fails itself.
 */
export async function runTool(program: string, args: readonly string[], options: ToolOptions): Promise<string> {
  const { purpose, advice = `Install ${program}, then try again.`, cwd, env } = options;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC', ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    if (code === 0) return stdout;
  } catch (error) {
    const why = systemCode(error) === 'ENOENT' ? `there is no ${program} here` : String(error);
    throw new Failure(`cannot ${purpose}: ${why}`, { advice, cause: error });
  }
  throw new Failure(`cannot ${purpose}: ${program}: ${stderr.trim()}`, { advice });
}
