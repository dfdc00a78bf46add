// Proves that a file of nodes may say what people call them, in CSV and JSON, and that a line with
// a text that cannot be shown is refused by its field.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { call, importsRun, nodesList } from '../src/index.js';
import type { ImportOutcome } from '../src/contract/index.js';

const KEYS = Array.from({ length: 3 }, () => newSecret().toHex());
const INPUT = { installer: 'Kim', site: 'north', lifetime_seconds: 60, shared_key: false, skip_bad: false, dry_run: false };

async function importing(
  text: string,
  fixture: AdminFixture,
  more: Partial<typeof INPUT> = {},
): Promise<ImportOutcome | undefined> {
  const file = join(await tempFolder(), 'nodes');
  await writeFile(file, text, { mode: 0o600 });
  let reported: ImportOutcome | undefined;
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  const context = { registry: fixture.registry, clock, actor: 'user ada', file, decrypt: {} };
  await call(importsRun, { ...context, report: (outcome) => void (reported = outcome) }, { ...INPUT, ...more }).catch(
    () => undefined,
  );
  return reported;
}

async function nodesOf({ registry }: AdminFixture): Promise<unknown[]> {
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  const { items } = await call(nodesList, { registry, clock, actor: 'user ada' }, { limit: 10 });
  return items.map(({ id, name, site, location, tags, note }) => [id, name, site, location, tags, note]);
}

const line = (id: number, key: string): string => `0000000${id},00000001,192.0.2.1:5684,${key}`;
const EXPECTED = [
  ['00000001', 'Pump 3, "old"', 'south', null, ['pump', 'spare'], 'new'],
  ['00000002', null, 'north', null, [], null],
];

describe('a file of nodes', () => {
  it('in CSV describes those that it describes', async () => {
    const fixture = await AdminFixture.open('memory');
    const header = 'id,controller_id,controller,ik,Note,name,site,tags';
    const text = `${header}\n${line(1, KEYS[0]!)},new,"Pump 3, ""old""",south,spare; pump;\n${line(2, KEYS[1]!)},,,,\n`;
    expect(await importing(text, fixture)).toMatchObject({ added: 2, rejected: 0, described_otherwise: 0 });
    expect(await nodesOf(fixture)).toEqual(EXPECTED);
    const again = text.replace('south', 'east');
    expect(await importing(again, fixture)).toMatchObject({ unchanged: 2, described_otherwise: 1 });
    expect(await nodesOf(fixture)).toEqual(EXPECTED);
  });

  it('in JSON describes them, too', async () => {
    const fixture = await AdminFixture.open('memory');
    const bare = (id: number, ik: string): object => ({
      id: `0000000${id}`,
      controller_id: '00000001',
      controller: '192.0.2.1:5684',
      ik,
    });
    const texts = { note: 'new', name: 'Pump 3, "old"', site: 'south', tags: ['spare', 'pump'] };
    const rows = [{ ...bare(1, KEYS[0]!), ...texts }, bare(2, KEYS[1]!)];
    expect(await importing(JSON.stringify(rows), fixture)).toMatchObject({ added: 2, rejected: 0 });
    expect(await nodesOf(fixture)).toEqual(EXPECTED);
  });

  it('is refused by line and field where a text cannot be shown', async () => {
    const fixture = await AdminFixture.open('memory');
    const rows = ['a\u202eb', 'x'.repeat(65), 'ok'].map((name, i) => `${line(i + 1, KEYS[i]!)},${name},`);
    rows[2] += Array.from({ length: 17 }, (_, i) => `tag ${i}`).join(';');
    const outcome = await importing(`id,controller_id,controller,ik,name,tags\n${rows.join('\n')}\n`, fixture, { dry_run: true });
    expect(outcome?.problems).toEqual([
      { line: 2, id: '00000001', reason: 'name: expected one line, without characters that cannot be seen' },
      { line: 3, id: '00000002', reason: 'name: expected 64 characters at most' },
      { line: 4, id: '00000003', reason: expect.stringMatching(/^tags: /) as string },
    ]);
    expect(await nodesOf(fixture)).toEqual([]);
  });
});
