/**
 * A container engine and a network of compose.yaml in it, driven by the commands a person would
 * type.
 */

import { execFile, type ExecFileException, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT: string = fileURLToPath(new URL('../../../../', import.meta.url));
export const BASE_IMAGE = 'node:24-bookworm-slim';

/** What there is to work with, or why there is nothing. */
export type Engine = { readonly compose: readonly [string, ...string[]] } | { readonly missing: string };

const works = (command: string, ...args: string[]): boolean => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/**
 * Uses the engine that answers; starts one with the script that LATCHKEY_DOCKER_ENGINE names, if
 * none does.
 */
export function findEngine(): Engine {
  const script = process.env['LATCHKEY_DOCKER_ENGINE'];
  if (!works('docker', 'info') && script !== undefined) spawnSync(script, { stdio: 'ignore' });
  if (!works('docker', 'info')) return { missing: 'no Docker engine answers here' };
  if (works('docker', 'compose', 'version')) return { compose: ['docker', 'compose'] };
  if (works('docker-compose', 'version')) return { compose: ['docker-compose'] };
  return { missing: 'neither `docker compose` nor `docker-compose` is here' };
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env, encoding: 'latin1', maxBuffer: 256 * 1024 * 1024 } as const;
    execFile(command, args, options, (error: ExecFileException | null, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, stdout, stderr });
    });
  });
}

/** Standard output of a command that is to succeed. */
async function succeed(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, env);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.slice(-2_000)}${stdout.slice(-2_000)}`);
  return stdout;
}

export function docker(...args: string[]): Promise<string> {
  return succeed('docker', args, process.env);
}

export function dockerOutcome(...args: string[]): Promise<Outcome> {
  return run('docker', args, process.env);
}

export interface LogLine {
  readonly msg: string;
  /** ISO 8601. */
  readonly time: string;
  readonly [field: string]: unknown;
}

/**
 * The first line of a container's log since `since` (ms since the epoch) that matches, now or
 * within the limit.
 */
export async function waitForLine(
  container: string,
  matches: (line: LogLine) => boolean,
  since = 0,
  limitMs = 300_000,
): Promise<LogLine> {
  const limit = AbortSignal.timeout(limitMs);
  // A container that ends and starts again ends `docker logs --follow`: then it is asked once more.
  while (!limit.aborted) {
    const follower = spawn('docker', ['logs', '--follow', container], { stdio: ['ignore', 'pipe', 'ignore'] });
    const end = (): void => void follower.kill();
    limit.addEventListener('abort', end, { once: true });
    try {
      for await (const text of createInterface({ input: follower.stdout })) {
        const line = parse(text);
        if (line !== undefined && Date.parse(line.time) > since && matches(line)) return line;
      }
    } finally {
      limit.removeEventListener('abort', end);
      follower.kill();
      if (follower.exitCode === null && follower.signalCode === null) await once(follower, 'close');
    }
  }
  throw new Error(`${container} said nothing like it:\n${(await docker('logs', '--tail', '20', container)).slice(-4_000)}`);
}

export function parse(text: string): LogLine | undefined {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return undefined;
  }
}

/** The network of compose.yaml under a name of its own, with its profile `lossy`. */
export class ComposeNetwork {
  readonly project: string = `latchkey-test-${randomBytes(4).toString('hex')}`;
  readonly revision: string = randomBytes(20).toString('hex');
  /** Where the console is, as a browser has it. */
  readonly origin: string;
  readonly #compose: readonly [string, ...string[]];
  readonly #environment: NodeJS.ProcessEnv;

  /** @param consolePort a free one of this machine */
  constructor(compose: readonly [string, ...string[]], consolePort: number) {
    this.origin = `http://localhost:${consolePort}`;
    this.#compose = compose;
    this.#environment = {
      ...process.env,
      COMPOSE_PROJECT_NAME: this.project,
      COMPOSE_PROFILES: 'lossy',
      LATCHKEY_CONSOLE_PORT: String(consolePort),
      LATCHKEY_IMAGES: this.project,
      LATCHKEY_REVISION: this.revision,
    };
  }

  /** `docker compose ...` */
  compose(...args: string[]): Promise<string> {
    const [command, ...first] = this.#compose;
    return succeed(command, [...first, ...args], this.#environment);
  }

  /** The containers of a service, or of all, also those that ended. */
  async containers(service?: string): Promise<string[]> {
    const of = service === undefined ? [] : ['--filter', `label=com.docker.compose.service=${service}`];
    return words(await docker('ps', '--all', '--quiet', '--no-trunc', ...this.#label(), ...of));
  }

  /** The container of a service that has one. */
  async container(service: string): Promise<string> {
    const [only, ...others] = await this.containers(service);
    if (only === undefined || others.length > 0) throw new Error(`${service} has ${others.length + 1} containers`);
    return only;
  }

  /** All that any container has said. */
  async logs(): Promise<string> {
    const outcomes = await Promise.all((await this.containers()).map((container) => dockerOutcome('logs', container)));
    return outcomes.map(({ stdout, stderr }) => `${stdout}\n${stderr}`).join('\n');
  }

  /** Exit codes of the containers that have ended since `since`, in seconds since the epoch. */
  async exitCodes(since: string): Promise<string[]> {
    const until = String(Date.now() / 1000);
    const format = '{{index .Actor.Attributes "exitCode"}}';
    const filters = [...this.#label(), '--filter', 'event=die'];
    return words(await docker('events', ...filters, '--since', since, '--until', until, '--format', format));
  }

  /** What the engine keeps for this network. */
  async leftovers(): Promise<string[]> {
    const label = this.#label();
    const [containers, volumes, networks, named] = await Promise.all([
      docker('ps', '--all', '--quiet', ...label),
      docker('volume', 'ls', '--quiet', ...label),
      docker('network', 'ls', '--quiet', ...label),
      docker('volume', 'ls', '--quiet', '--filter', `name=${this.project}`),
    ]);
    return [containers, volumes, networks, named].flatMap(words);
  }

  image(target: string): string {
    return `${this.project}-${target}`;
  }

  async build(target: string): Promise<void> {
    const revision = `REVISION=${this.revision}`;
    await docker('build', '-f', 'docker/Dockerfile', '--target', target, '--build-arg', revision, '-t', this.image(target), ROOT);
  }

  async remove(): Promise<void> {
    await this.compose('down', '-v', '--remove-orphans', '-t', '1');
    const images = words(await docker('images', '--quiet', '--filter', `reference=${this.project}-*`));
    if (images.length > 0) await dockerOutcome('rmi', '--force', ...new Set(images));
  }

  #label(): string[] {
    return ['--filter', `label=com.docker.compose.project=${this.project}`];
  }
}

export function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
