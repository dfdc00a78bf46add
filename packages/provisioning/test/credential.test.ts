// Proves that a credential is private, read strictly, and never quoted.

import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { describe, expect, it } from 'vitest';
import { type Credential, readCredential, writeCredential } from '../src/credential.js';
import { tempFolder } from '@latchkey/test-support/fixtures';

const KEY = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';
const GOOD = { id: '0000a1b2', sk_cs: KEY, servers: ['192.0.2.7:5693', '[2001:db8::7]:5693'] };

async function fileWith(text: string): Promise<string> {
  const path = join(await tempFolder(), 'controller.json');
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

describe('a credential', () => {
  it('is written with mode 0600 and read back', async () => {
    const path = join(await tempFolder(), 'controller.json');
    const credential: Credential = {
      idC: 0xa1b2,
      skCs: Secret.fromHex(KEY),
      servers: [
        { host: '192.0.2.7', port: 5693 },
        { host: '2001:db8::7', port: 5693 },
      ],
    };
    await writeCredential(path, credential);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(GOOD);
    const { skCs, ...rest } = await readCredential(path);
    expect(skCs.toHex()).toBe(KEY);
    expect(rest).toEqual({ idC: 0xa1b2, servers: credential.servers });
  });

  it('is never written over another', async () => {
    const path = await fileWith('something else');
    const credential = { idC: 1, skCs: Secret.fromHex(KEY), servers: [] };
    await expect(writeCredential(path, credential)).rejects.toMatchObject({ message: `cannot write ${path}: it exists already` });
    expect(await readFile(path, 'utf8')).toBe('something else');
  });

  it('that others can read is refused', async () => {
    const path = await fileWith(JSON.stringify(GOOD));
    await chmod(path, 0o640);
    await expect(readCredential(path)).rejects.toMatchObject({ name: 'UsageFailure', advice: `Run: chmod 600 ${path}` });
  });

  it.each([
    ['an ID of 7 digits', { ...GOOD, id: '000a1b2' }, 'id: expected 8 hex digits'],
    ['an ID that is a number', { ...GOOD, id: 1 }, 'id: expected 8 hex digits'],
    ['a key of 31 digits', { ...GOOD, sk_cs: KEY.slice(1) }, 'sk_cs: expected 32 hex digits'],
    ['a key of 33 digits', { ...GOOD, sk_cs: `${KEY}0` }, 'sk_cs: expected 32 hex digits'],
    ['a key with a letter that is no digit', { ...GOOD, sk_cs: `${KEY.slice(1)}g` }, 'sk_cs: expected 32 hex digits'],
    ['a key with a line end', { ...GOOD, sk_cs: `${KEY}\n` }, 'sk_cs: expected 32 hex digits'],
    ['a server without a port', { ...GOOD, servers: ['192.0.2.7'] }, 'servers.0: expected HOST:PORT'],
    ['a server on port 0', { ...GOOD, servers: ['192.0.2.7:0'] }, 'servers.0: expected HOST:PORT'],
    ['no servers', { id: GOOD.id, sk_cs: KEY }, 'servers: expected a list, and it is missing'],
    ['no key', { id: GOOD.id, servers: [] }, 'sk_cs: expected 32 hex digits, and it is missing'],
    ['one field too many', { ...GOOD, note: 'x' }, 'unknown key note'],
    ['a list', [GOOD], 'expected names with values'],
    ['nothing', null, 'expected names with values'],
  ])('with %s is refused by field, without its key', async (_, json, message) => {
    const path = await fileWith(JSON.stringify(json));
    const refused = await readCredential(path).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure' });
    expect((refused as Error).message).toContain(`${path}: `);
    expect((refused as Error).message).toContain(message);
    expect(String((refused as Error).stack)).not.toContain(KEY.slice(1, 12));
  });

  it('that is not JSON is refused without a word of what it holds', async () => {
    const path = await fileWith(`{ "sk_cs": ${KEY} }`);
    const refused = await readCredential(path).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'UsageFailure', message: `${path}: not JSON`, cause: undefined });
    expect(String((refused as Error).stack)).not.toContain(KEY.slice(0, 6));
  });
});
