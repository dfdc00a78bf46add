/** Another master key for the registry: everything is sealed anew while the server runs, and a crash costs nothing but time. */

import { type NextMasterKey, PLACE, resealTable, rotate } from '@latchkey/store';
import type { Registry } from './registry.js';

/** @param progress nodes looked at so far */
export async function rotateMasterKey(
  { tables }: Registry,
  next: NextMasterKey,
  progress?: (done: number) => void,
): Promise<void> {
  const { keyring, nodes, controllers, about, audit, folder } = tables;
  const write = <T>(action: () => T): Promise<T> => tables.write(action);
  await rotate({
    folder,
    about,
    keyring,
    next,
    write,
    seeLatest: () => tables.seeLatest(),
    begun: () => audit.append({ what: 'master key change begun', key: next.key }, Date.now()),
    finished: () => audit.append({ what: 'master key changed', key: next.key }, Date.now()),
    async reseal() {
      let done = 0;
      await resealTable(
        nodes,
        write,
        (id, row) =>
          keyring.isFresh(row.key) ? undefined : { ...row, key: keyring.reseal({ kind: PLACE.node, id: id }, row.key) },
        (rows) => progress?.((done += rows)),
      );
      await resealTable(controllers, write, (id, row) => ({
        ...row,
        skCs: keyring.reseal({ kind: PLACE.controller, id: id }, row.skCs),
        ...(row.next === undefined ? {} : { next: keyring.reseal({ kind: PLACE.nextOfController, id: id }, row.next) }),
      }));
      await write(() =>
        about.putSync('ik identity', keyring.reseal({ kind: PLACE.ikIdentity, id: 0 }, about.get('ik identity') as Uint8Array)),
      );
    },
  });
}
