/** The application keys of this node, for `key`. */

import { deriveApplicationRoot, deriveKeyId, formatId } from '@latchkey/protocol';
import { type ApplicationKeyOptions, deriveKeys, expiredFailure } from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { formatKeys } from '@latchkey/runtime/key-output';
import { CumulativeUptime } from './cumulative-uptime.js';
import { expiryOf, NodeFile } from './node-file.js';

/** @throws Failure if the node has no key of its own, or it has expired */
export async function readKeys(options: ApplicationKeyOptions & { readonly state: string }): Promise<string> {
  const { record } = await NodeFile.open(options.state);
  const { idI, confirmed, initial } = record.state;
  if (initial) {
    throw new Failure(`node ${formatId(idI)} has only its initial key, which others know: no application key comes from it`, {
      advice: 'Let it join first, if no agent runs that does:',
      run: [['latchkey-node-agent', 'join']],
    });
  }
  const clocks = new CumulativeUptime(record.powered).clocks();
  const expiry = expiryOf(record, clocks);
  if (expiry !== undefined && clocks.wallMs > expiry && options.allowExpired !== true) throw expiredFailure(idI, expiry);
  const applicationRoot = deriveApplicationRoot(confirmed, idI);
  const kid = deriveKeyId(applicationRoot, idI);
  const notAfter = expiry === undefined ? null : new Date(expiry).toISOString();
  const keys = deriveKeys(applicationRoot, idI, { kid, not_after: notAfter }, options);
  applicationRoot.wipe();
  return formatKeys(formatId(idI), [keys], options);
}
