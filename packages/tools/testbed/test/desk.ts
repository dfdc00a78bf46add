// A person at a machine who reads what a command says, and pastes the command lines that it prints.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'vitest';
import { HAS_SCRIPT } from '@latchkey/test-support/terminal';
import { type CommandName, commandLine, type CommandResult, runCommand } from '../src/process.js';
import type { TestNetwork } from '../src/network.js';

/** What a packaged machine has at a fixed place, and the testbed elsewhere. */
const DEVICE_STATE = '/var/lib/latchkey/node-agent';
const REGISTRY = '/var/lib/latchkey/auth-server';

/** A command line that was printed, and what was said before it. */
export interface Step {
  readonly on: 'desk' | 'device';
  readonly says: string;
  readonly line: string;
}

/** What was printed to do, and what to do instead. */
export interface Advice {
  readonly text: string;
  readonly steps: readonly Step[];
  readonly instead: readonly Step[];
}

/**
 * Command lines are indented by two spaces, below the sentence that says where they are to be
 * pasted.
 */
export function adviceIn(text: string): Advice {
  const [first = '', second = ''] = text.split(/^Or else:$/m);
  return { text, steps: stepsIn(first), instead: stepsIn(second) };
}

function stepsIn(text: string): Step[] {
  const steps: Step[] = [];
  let says = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('  ')) steps.push({ on: says.includes('On the device') ? 'device' : 'desk', says, line: line.slice(2) });
    else says = line;
  }
  return steps;
}

/**
 * The desk of an administrator, at the machine of the registry, and a device, each with a folder of
 * its own to work in.
 */
export class Desk {
  readonly folder: string;
  readonly device: string;
  readonly #network: TestNetwork;
  readonly #state: string;

  private constructor(network: TestNetwork, name: string, state: string) {
    this.#network = network;
    this.#state = state;
    this.folder = network.path(`desk-${name}`);
    this.device = network.path(`device-${name}`);
  }

  /** @param manifest that both have */
  static async open(network: TestNetwork, name: string, state: string, manifest?: string): Promise<Desk> {
    const desk = new Desk(network, name, state);
    for (const folder of [desk.folder, desk.device]) {
      await mkdir(folder);
      if (manifest !== undefined) await copyFile(manifest, join(folder, 'manifest.csv'));
    }
    return desk;
  }

  /** Pastes each line where it was said to be pasted; every command must succeed. */
  async follow(steps: readonly Step[], environment?: NodeJS.ProcessEnv): Promise<CommandResult[]> {
    const all: CommandResult[] = [];
    for (const { on, says, line } of steps) {
      const [, carried] = /Take (\S+) to the device/.exec(says) ?? [];
      if (carried !== undefined) await copyFile(join(this.folder, carried), join(this.device, 'manifest.csv'));
      const finished = await this.paste(line, on, environment);
      if (finished.code !== 0) throw new Error(`${line} ended with ${finished.code}:\n${finished.stdout}${finished.stderr}`);
      all.push(finished);
    }
    return all;
  }

  /**
   * Pastes a line into a shell. What asks is answered with yes. The shell starts the first of each
   * command in a network. It splits the line of each later one, which a command worker runs then:
   * not those that ask, are more than one command, or have an environment of their own.
   */
  async paste(line: string, on: Step['on'] = 'desk', environment?: NodeJS.ProcessEnv): Promise<CommandResult> {
    const here = line.replaceAll(DEVICE_STATE, this.#state).replaceAll(REGISTRY, this.#network.registry);
    const cwd = on === 'desk' ? this.folder : this.device;
    if (environment === undefined && IS_ONE_COMMAND.test(here) && !asks(here)) {
      const [name, ...args] = await split(here, cwd, await this.#splitters());
      if (!this.#isFirst(name, args)) return runCommand(name, args, { cwd });
    }
    const [program = ''] = commandLine('auth-server', []);
    const path = [join(this.folder, 'bin'), dirname(program), dirname(process.execPath), process.env['PATH'] ?? ''].join(':');
    return runInShell(here, cwd, { ...process.env, ...environment, PATH: path });
  }

  /** Whether this network has not seen the command yet. */
  #isFirst(name: CommandName, args: readonly string[]): boolean {
    const [words = ''] = /^(?:[a-z-]+ )(?:[a-z]+ )*/.exec(`${[name, ...args].join(' ')} `) ?? [];
    const pasted = pastedIn.get(this.#network) ?? new Set();
    const isFirst = !pasted.has(words);
    pastedIn.set(this.#network, pasted.add(words));
    return isFirst;
  }

  /** A folder of what stands for each program, and prints how it was called. */
  async #splitters(): Promise<string> {
    const folder = `${this.folder}-splitters`;
    await mkdir(folder, { recursive: true });
    for (const name of PROGRAMS)
      await writeFile(join(folder, `latchkey-${name}`), `#!/bin/sh\nprintf '%s\\0' ${name} "$@"\n`, { mode: 0o755 });
    return folder;
  }
}

const PROGRAMS = ['auth-server', 'controller', 'node-agent'] as const;
/** No word of it means more than itself to a shell, but for quotes. */
const IS_ONE_COMMAND = /^latchkey-[^|&;<>()$`\n]*$/;
/** The commands that were pasted already. */
const pastedIn = new WeakMap<TestNetwork, Set<string>>();

function asks(line: string): boolean {
  return / node (?:reset|remove) | clock release/.test(line);
}

/** The program and its arguments as a shell has them. */
async function split(line: string, cwd: string, splitters: string): Promise<[CommandName, ...string[]]> {
  const env = { ...process.env, PATH: [splitters, process.env['PATH'] ?? ''].join(':') };
  const { code, stdout, stderr } = await runInShell(line, cwd, env);
  const [name, ...args] = stdout.split('\0').slice(0, -1);
  const program = PROGRAMS.find((one) => one === name);
  if (code !== 0 || program === undefined) throw new Error(`${line} is not one command: ${stderr}`);
  return [program, ...args];
}

/** Without `script`, of util-linux, nothing can be asked: then --yes stands for the answer. */
async function runInShell(line: string, cwd: string, env: NodeJS.ProcessEnv): Promise<CommandResult> {
  const onTerminal = asks(line) && HAS_SCRIPT;
  const child = onTerminal
    ? spawn('script', ['--quiet', '--return', '--command', line, '/dev/null'], { cwd, env: { ...env, SHELL: '/bin/sh' } })
    : spawn('/bin/sh', ['-c', asks(line) ? `${line} --yes` : line], { cwd, env });
  let [stdout, stderr, answered] = ['', '', false];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (!onTerminal) return;
    if (answered || !stdout.includes('[y/N] ')) return;
    answered = true;
    child.stdin.write('y\r');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  if (!onTerminal) child.stdin.end();
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: stdout.replaceAll('\r\n', '\n'), stderr };
}

/** The environment of a process whose clocks are off by so much. */
export function clocksOff({ wallMs = 0, steadyMs = 0 }: { wallMs?: number; steadyMs?: number }): NodeJS.ProcessEnv {
  const script =
    `const wall=Date.now,steady=process.hrtime.bigint;Date.now=()=>wall()+${wallMs};` +
    `process.hrtime.bigint=()=>steady()+${steadyMs * 1e6}n`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` };
}

/** Above the minute that a node has to prove itself. */
const LIMIT_MS = 400_000;

/** Between two looks, in ms: most are a process, and what takes long may take a minute. */
const [FIRST_PAUSE_MS, LAST_PAUSE_MS] = [200, 3_000];

/**
 * Resolves when what is looked at is as wanted. `expect.poll` does not work in tests that run at
 * once.
 */
export async function until<T>(what: string, look: () => Promise<T>, wanted: (seen: T) => boolean): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(1.5 * pauseMs, LAST_PAUSE_MS)) {
    const seen = await look();
    if (wanted(seen)) return;
    if (performance.now() > end) throw new Error(`not yet: ${what}, but ${String(seen)}`);
    await pause(pauseMs);
  }
}

/** For what is set up outside a test's own body. */
export function mustBe(seen: unknown, wanted: unknown): void {
  expect(seen).toEqual(wanted);
}

/** The cause that `node why --json` named, or what went wrong. */
export function causeIn({ stdout, stderr }: CommandResult): string {
  return stdout === '' ? stderr : (JSON.parse(stdout) as { cause: string }).cause;
}
