/** The application keys of this node, for `key`. */

import { formatId } from '@latchkey/protocol';
import { type ApplicationKeyOptions, noFormerKey } from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { formatKeys, selectGenerations } from '@latchkey/runtime/key-output';
import { CumulativeUptime } from './cumulative-uptime.js';
import { NodeFile } from './node-file.js';
import { printedGenerations } from './printed-generations.js';

/**
 * @throws Failure if the node has no key of its own, if the key has expired, or if no former key
 *   exists
 */
export async function readKeys(options: ApplicationKeyOptions & { readonly state: string }): Promise<string> {
  const { record } = await NodeFile.open(options.state);
  const { idI, initial } = record.state;
  if (initial) {
    throw new Failure(`node ${formatId(idI)} has only its initial key, which others know: no application key comes from it`, {
      advice: 'Let it join first, if no agent runs that does:',
      run: [['latchkey-node-agent', 'join']],
    });
  }
  const now = new CumulativeUptime(record.powered).clocks();
  const generations = selectGenerations(printedGenerations({ ...record, ...record.state }, now, options), options);
  if (generations.length === 0) throw noFormerKey(idI);
  return formatKeys(formatId(idI), generations, { ...options, kid: options.kid ?? options.all });
}
