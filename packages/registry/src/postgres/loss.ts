/**
 * Checks that a database is the one that this machine saw before, with each entry that was
 * acknowledged to it.
 */

import { UsageFailure } from '@latchkey/runtime/failure';
import type { Head } from '../audit-chain.js';
import { Unavailable } from '../storage.js';
import type { Statement } from './connection.js';
import type { LastSeen, Seen } from './last-seen.js';
import type { Rows } from './snapshot.js';

/** Fetches what `describeLoss` compares. A plain SELECT of one entry's hash. */
export function fetchSeenEntry(seen: Seen | undefined): Statement {
  return { text: 'SELECT hash FROM latchkey.audit WHERE seq = $1', values: [seen?.head?.seq ?? 0] };
}

/**
 * @param where names the database, or its host
 * @throws UsageFailure if it is in another cluster than was seen
 */
export function refuseOtherCluster(seen: Seen | undefined, system: string, where: string): void {
  if (seen === undefined || seen.system === system) return;
  throw new UsageFailure(`${where} is of another PostgreSQL cluster than the one that this server saw before`, {
    advice: 'If it was restored or upgraded, and nobody serves from the one before:',
    run: [['latchkey-auth-server', 'registry', 'accept']],
  });
}

/** @throws UsageFailure if it is another registry than was seen */
export function refuseOtherRegistry({ seen, path }: Pick<LastSeen, 'seen' | 'path'>, id: string, database: string): void {
  if (seen === undefined || seen.registry === id) return;
  throw new UsageFailure(`database ${database} holds another registry than the one that this server saw before`, {
    advice: `Nothing was changed. Check the name of the database, and --data. If the registry was copied to a folder and back, or restored into a new database, remove ${path}.`,
  });
}

/**
 * Describes the entries that the database lacks and this server has seen. Returns `undefined` if no
 * loss is detected.
 */
export function describeLoss(
  seen: Seen | undefined,
  { registry: { start, epoch }, head: last }: Rows,
  hash: unknown,
): string | undefined {
  if (seen === undefined) return undefined;
  const { head } = seen;
  if (seen.epoch > epoch) return `it is in epoch ${epoch}, and a server has seen epoch ${seen.epoch}`;
  // An operator has accepted the loss.
  if (seen.epoch < epoch || head === undefined) return undefined;
  const found = head.seq === start.seq ? start.hash : (hash as Buffer | undefined);
  // It was pruned.
  if (head.seq < start.seq) return undefined;
  if (found === undefined) return `it ends at entry ${last.seq}, and a server has seen ${describeHead(head)}`;
  if (Buffer.from(found).toString('hex') === head.hash) return undefined;
  return `its entry ${head.seq} is another than a server has seen: ${describeHead(head)}`;
}

/** The whole hash would be withheld from the message, for it looks like a key. */
function describeHead({ seq, hash }: Head): string {
  return `entry ${seq}, whose hash begins with ${hash.slice(0, 16)}`;
}

export function lost(what: string): Unavailable {
  return new Unavailable(`the database has lost entries that were acknowledged: ${what}`, {
    advice:
      'Nothing is answered from it. If a standby or backup has these entries, serve from that. Else let the registry go on without them, and see whom that locks out:',
    run: [['latchkey-auth-server', 'registry', 'accept']],
  });
}
