import { formatId } from '@latchkey/protocol';
import { createLog, type LogLevel } from '@latchkey/runtime/daemon';
import { loadConfig } from '@latchkey/runtime/config';
import { logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { configSchema } from '../config.js';
import { NodeAgent } from '../node-agent.js';
import { type SaveCodeCache, MemorySaver } from '../memory-saver.js';
import type { NodeTargets } from '../targets.js';
import { openLocked, openTargets, stateOption } from './state.js';

interface JoinOptions {
  readonly state: string;
  readonly config?: string;
  readonly ifDue?: true;
  readonly now?: true;
  readonly logLevel?: LogLevel;
}

export function joinCommand(saveCodeCache: SaveCodeCache): Command {
  const command = new Command('join')
    .description('get a new key, once; exit code 0 if the node has it, 1 if not')
    .addOption(stateOption())
    .option('--config <file>', 'YAML configuration: on_key_change, targets, activate_after, log_level')
    .option('--if-due', 'get no key while the node has one that need not be renewed')
    .option('--now', 'have the agent that runs here join now, if one does')
    .addOption(logLevelOption())
    .action((options: JoinOptions) => join(options, saveCodeCache));
  return withExamples(
    command,
    'latchkey-node-agent join --state ./node',
    'latchkey-node-agent join --state ./node --log-level debug',
  );
}

async function join(options: JoinOptions, saveCodeCache: SaveCodeCache): Promise<void> {
  if (options.now === true && (await (await import('../join-now.js')).askAgent(options.state))) return;
  const config = await loadConfig(configSchema, options.config);
  const log = await createLog('node-agent', options.logLevel ?? 'error', 'stderr');
  const holder = 'latchkey-node-agent join';
  const { file, lock } = await openLocked(options.state, holder);
  let targets: NodeTargets | undefined;
  try {
    targets = await openTargets(config, options.config, { folder: options.state, file, holder, log });
    // What a process before this one was ended in the middle of is made up for now.
    targets?.update();
    const id = formatId(file.record.state.idI);
    const memorySaver = new MemorySaver(options.state, saveCodeCache);
    const agent = new NodeAgent({ file, folder: options.state, onKeyChange: config.on_key_change, targets, log, memorySaver });
    if (options.ifDue === true && !agent.isDue) {
      await agent.saveUptime();
      await agent.forgetFormerKey();
      // Repeats a hook that failed after the last key: with a timer no other process does it.
      await agent.runPendingHook();
      process.stdout.write(`Node ${id} has a key that need not be renewed yet\n`);
      await targets?.settle();
      return;
    }
    const { keyBefore, key } = await agent.join().catch(async (error: unknown) => {
      if (options.ifDue === true) await agent.ageCandidates();
      throw error;
    });
    process.stdout.write(`Node ${id} joined: its key is [secret ${key}], it was [secret ${keyBefore}]\n`);
    await targets?.settle();
  } finally {
    await targets?.stop();
    await lock.release();
  }
}
