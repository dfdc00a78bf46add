/**
 * A load generator as a process of its own: `LoadTarget` as its one argument, then plans in and
 * what was played out, over IPC.
 */

import { LoadClient } from './load-client.js';
import type { LoadTarget, LoadProfile } from './load-profile.js';

const player = await LoadClient.open(JSON.parse(process.argv[2] ?? '') as LoadTarget);
process.on('message', (plan: LoadProfile) => {
  void player.play(plan).then((played) => process.send?.(played));
});
process.on('disconnect', () => player.close());
process.send?.('ready');
