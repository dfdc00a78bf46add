/**
 * A process that is many nodes: the node agent's own code on node files of its own, an agent each.
 * Killing it is a crash of all of them, each at the step it happens to be at.
 *
 *   node fleet.js run FOLDERS    joins and renews until SIGTERM
 *   node fleet.js once FOLDERS   each node joins once more, due or not
 *   node fleet.js again FOLDERS  each node joins again and again, some three times a second
 *
 * FOLDERS is a file with a state folder a line.
 */

import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { NodeAgent, NodeFile } from '@latchkey/node-agent';
import { formatId } from '@latchkey/protocol';
import { createLog, runDaemon } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';

/**
 * Between attempts of a node that must join once more, in ms, at most: nodes that failed together
 * do not come back together. The back-off proper is what `run` shows.
 */
const RETRY_DELAY_MS = 2_000;
/** Between two joins of a node in `again`, in ms. */
const AGAIN_MS = 300;

const log = await createLog('fleet', 'info');

async function agentsIn(list: string): Promise<NodeAgent[]> {
  const folders = (await readFile(list, 'utf8')).split('\n').filter((line) => line !== '');
  return Promise.all(
    folders.map(async (folder) => {
      const file = await NodeFile.open(folder);
      const nodeLog = log.child({ node: formatId(file.record.state.idI) });
      return new NodeAgent({ file, folder, onKeyChange: undefined, log: nodeLog });
    }),
  );
}

async function joinOnce(agent: NodeAgent): Promise<void> {
  for (;;) {
    try {
      await agent.join();
      return;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      log.warn(error.message);
      await pause(randomInt(RETRY_DELAY_MS));
    }
  }
}

async function joinAgain(agent: NodeAgent): Promise<void> {
  for (;;) {
    await joinOnce(agent);
    await pause(AGAIN_MS);
  }
}

const JOINS: Readonly<Record<string, (agent: NodeAgent) => Promise<void>>> = { once: joinOnce, again: joinAgain };

const [, , mode = 'run', list = ''] = process.argv;
await runDaemon(log, async () => {
  const agents = await agentsIn(list);
  log.info({ nodes: agents.length }, 'started');
  const working = Promise.all(agents.map((agent) => JOINS[mode]?.(agent) ?? agent.run()));
  if (mode === 'once') void working.then(() => log.info('all joined'));
  return {
    async stop() {
      for (const agent of agents) agent.stop();
      if (mode === 'run') await working;
    },
  };
});
