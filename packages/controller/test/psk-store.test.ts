// Proves that the controller's own store keeps the key of each node's newest transaction, for its user alone.

import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Joined } from '@latchkey/protocol';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '../../runtime/test/fixtures.js';
import { PskStore } from '../src/psk-store.js';
import { newPskStore, newSecret } from './fixtures.js';

const NID = Uint8Array.from({ length: 18 }, (_, i) => i);

function joined(more: Partial<Joined> = {}): Joined {
  return {
    idI: 0xffff_ffff,
    tid: 0xffff_ffff_ffff_fff0n,
    ts: 1_795_000_000_000n,
    nidI: NID,
    psk: newSecret(),
    lifetime: 3_600,
    ...more,
  };
}

describe('a key store', () => {
  it('has what was put there, also after it was closed and opened', async () => {
    const path = join(await tempFolder(), 'keys');
    const [first, one] = [await PskStore.open(path), joined()];
    await first.put(one);
    await first.close();
    const again = await PskStore.open(path);
    const stored = again.get(one.idI)!;
    expect({ ...stored, psk: stored.psk.toHex(), nidI: Uint8Array.from(stored.nidI) }).toEqual({
      psk: one.psk.toHex(),
      tid: one.tid,
      ts: 1_795_000_000_000,
      nidI: NID,
      lifetime: 3_600,
    });
    expect(again.get(1)).toBeUndefined();
    await again.close();
  });

  it('keeps a copy: wiping what was put there, or what was got, wipes nothing in it', async () => {
    const [psks, one] = [await newPskStore(), joined()];
    const hex = one.psk.toHex();
    await psks.put(one);
    one.psk.wipe();
    psks.get(one.idI)?.psk.wipe();
    expect(psks.get(one.idI)?.psk.toHex()).toBe(hex);
  });

  it('keeps the key of the newest transaction, in whatever order they come', async () => {
    const psks = await newPskStore();
    const keys = [5n, 9n, 0x10n, 7n].map((tid) => joined({ tid }));
    await Promise.all(keys.map((key) => psks.put(key)));
    expect(psks.get(0xffff_ffff)?.tid).toBe(0x10n);
    await psks.put(joined({ tid: 0x10n }));
    expect(psks.get(0xffff_ffff)?.psk.toHex()).toBe(keys[2]?.psk.toHex());
  });

  it('keeps the nodes apart', async () => {
    const psks = await newPskStore();
    const nodes = Array.from({ length: 300 }, (_, idI) => joined({ idI }));
    await Promise.all(nodes.map((node) => psks.put(node)));
    for (const { idI, psk } of nodes) expect(psks.get(idI)?.psk.toHex()).toBe(psk.toHex());
  });

  it('is for its user alone, and one that others can read is refused', async () => {
    const path = join(await tempFolder(), 'keys');
    await (await PskStore.open(path)).close();
    for (const file of await readdir(path)) expect((await stat(join(path, file))).mode & 0o777, file).toBe(0o600);
    await chmod(join(path, 'data.mdb'), 0o644);
    await expect(PskStore.open(path)).rejects.toMatchObject({
      name: 'UsageFailure',
      advice: `Run: chmod 600 ${join(path, 'data.mdb')}`,
    });
  });
});
