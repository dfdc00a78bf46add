/**
 * A process that runs commands one after the other, as its parent asks for them: to start Node.js
 * and load a program takes far longer than what most commands do. Its standard output and standard
 * error are those of the commands.
 */

import { readdirSync, readlinkSync } from 'node:fs';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { authServerProgram } from '@latchkey/auth-server/program';
import { controllerProgram } from '@latchkey/controller/program';
import { nodeAgentProgram } from '@latchkey/node-agent/program';
import { main } from '@latchkey/runtime/cli';
import type { Command } from 'commander';
import type { CommandRequest, CommandResponse } from './command-workers.js';

const PROGRAMS: Readonly<Record<CommandRequest['name'], (commandName: string | undefined) => Command | Promise<Command>>> = {
  'auth-server': authServerProgram,
  controller: controllerProgram,
  'node-agent': (commandName) => nodeAgentProgram({ commandName }),
};

/** How long a command may take to close what it opened, in ms. */
const CLOSE_TIMEOUT_MS = 60_000;
/** The same after `process.exit`, in ms: the next command gets a new process then. */
const EXIT_TIMEOUT_MS = 200;
const POLL_MS = 2;

/** What `process.exit` throws here. */
class Exit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

const exit = process.exit.bind(process);
process.once('disconnect', () => exit(0));
// The process is to serve the next command.
process.exit = (code) => {
  throw new Exit(Number(code ?? 0));
};
process.on('message', (request: CommandRequest) => {
  void run(request).then((response) => process.send?.(response));
});

async function run({ name, args, input, environment, cwd }: CommandRequest): Promise<CommandResponse> {
  for (const variable of Object.keys(process.env)) if (!(variable in environment)) delete process.env[variable];
  Object.assign(process.env, environment);
  process.chdir(cwd);
  process.argv = [process.execPath, `latchkey-${name}`, ...args];
  Object.defineProperty(process, 'stdin', {
    configurable: true,
    value: Readable.from([Buffer.from(input)], { objectMode: false }),
  });
  const emitters = [process, process.stdout, process.stderr].map((emitter) => new AddedListeners(emitter));
  const before = openThings();
  const leftOpen = (): string[] => openThings().filter((thing) => !before.includes(thing));

  const code = await main(await PROGRAMS[name](args[0])).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof Exit) return error.code;
      throw error;
    },
  );
  // Without a call of `process.exit` a process ends once nothing is open any more.
  const deadline = Date.now() + (code === undefined ? CLOSE_TIMEOUT_MS : EXIT_TIMEOUT_MS);
  let open = leftOpen();
  while (open.length > 0 && Date.now() < deadline) {
    await delay(POLL_MS);
    open = leftOpen();
  }
  for (const added of emitters) added.end(code ?? 0);
  if (code === undefined && open.length > 0)
    return { failure: `latchkey-${name} ${args.join(' ')} does not end: ${open.join(', ')}` };
  return { code: code ?? 0, isReusable: open.length === 0 };
}

/** What keeps the event loop alive, and what descriptors are open on. */
function openThings(): string[] {
  return [...process.getActiveResourcesInfo(), ...openFiles()];
}

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`);
      return /^(?:\/(?!dev\/|proc\/)|socket:)/.test(target) ? [target] : [];
    } catch {
      // The one that the folder was read through.
      return [];
    }
  });
}

/** The listeners that a command adds. */
class AddedListeners {
  readonly #emitter: NodeJS.EventEmitter;
  readonly #before: ReadonlySet<unknown>;

  constructor(emitter: NodeJS.EventEmitter) {
    this.#emitter = emitter;
    this.#before = new Set(emitter.eventNames().flatMap((event) => emitter.rawListeners(event)));
  }

  /** Calls those that wait for the end of the process, and removes all. */
  end(code: number): void {
    for (const event of this.#emitter.eventNames()) {
      for (const listener of this.#emitter.rawListeners(event) as ((...args: unknown[]) => void)[]) {
        if (this.#before.has(listener)) continue;
        if (event === 'exit') listener.call(this.#emitter, code);
        this.#emitter.off(event, listener);
      }
    }
  }
}
