/** A load generator as a process of its own: `Cast` as its one argument, then plans in and what was played out, over IPC. */

import { Player } from './player.js';
import type { Cast, Plan } from './plan.js';

const player = await Player.open(JSON.parse(process.argv[2] ?? '') as Cast);
process.on('message', (plan: Plan) => {
  void player.play(plan).then((played) => process.send?.(played));
});
process.on('disconnect', () => player.close());
process.send?.('ready');
