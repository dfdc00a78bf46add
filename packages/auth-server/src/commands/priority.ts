/** Priority of long-running commands, relative to daemons on the same machine. */

import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import type { Command } from 'commander';

/** Nice value of such a command: it takes the CPU time that daemons leave. */
const NICE = 10;

const marked = new WeakSet<Command>();

/** Marks a command that can work for long: the daemons of the machine come before it. */
export function yieldsToDaemons(command: Command): Command {
  marked.add(command);
  return command;
}

/** Lowers the priority of this process, if the command is marked. Never raises it. */
export function lowerPriorityOf(command: Command): void {
  if (!marked.has(command)) return;
  for (const thread of threads()) {
    try {
      if (getPriority(thread) < NICE) setPriority(thread, NICE);
    } catch {
      // The thread has ended, or the system does not permit the change. The command works in either
      // case.
    }
  }
}

/** Linux has a nice value per thread. A new thread inherits that of its creator. */
function threads(): readonly number[] {
  try {
    return readdirSync('/proc/self/task').map(Number);
  } catch {
    // 0: the whole process.
    return [0];
  }
}
