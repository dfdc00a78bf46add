// The examples of docs/API.md, run as they stand but for the path of the socket.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it } from 'vitest';
import { LocalApi } from './local-api.js';

const manual = readFileSync(new URL('../../../docs/API.md', import.meta.url), 'utf8');
const SOCKET = '/run/latchkey/auth-server-api/api.sock';
const examples = [...manual.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text = '']) => text);
const HAS_CURL = spawnSync('curl', ['--version']).status === 0;

async function run(script: string, cwd: string): Promise<{ readonly code: number | null; readonly lines: string[] }> {
  const child = spawn('sh', ['-eu', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'], cwd });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, lines: text.split('\n') };
}

describe.skipIf(!HAS_CURL)('docs/API.md (needs curl)', () => {
  it('has nine examples, and each gives what it says', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(Object.fromEntries(Array.from({ length: 250 }, (_, i) => [0xa1b2 + i, newSecret()])));
    const api = await LocalApi.start(fixture.registry.folder);
    expect(examples.length).toBe(9);
    const folder = await tempFolder();
    const headBefore = fixture.headSeq;
    const outputs: string[] = [];
    for (const example of examples) {
      expect(example).toContain(SOCKET);
      const { code, lines } = await run(example.replaceAll(SOCKET, api.socket), folder);
      expect([example, code]).toEqual([example, 0]);
      outputs.push(lines.join('\n'));
    }
    const [summary = '', page = '', pages = '', diagnosis = '', audit = '', , calendar = '', change = '', job = ''] = outputs;
    expect(JSON.parse(summary)).toMatchObject({ nodes: { total: 250, by_state: { enrolled: 250 } } });
    expect(JSON.parse(page)).toMatchObject({ total: 250, items: [{ id: '0000a1b2' }, { id: '0000a1b3' }] });
    const ids = pages
      .trim()
      .split('\n')
      .flatMap((line) => (JSON.parse(line) as { items: { id: string }[] }).items.map(({ id }) => id));
    expect([ids.length, new Set(ids).size]).toEqual([250, 250]);
    expect(JSON.parse(diagnosis)).toMatchObject({ id: '0000a1b2' });
    expect(audit).toContain(`"head":"${headBefore}:`);
    expect(audit).toContain('"what":"order created"');
    const exported = await readFile(join(folder, 'audit.jsonl'), 'utf8');
    expect(exported.trimEnd().split('\n')).toHaveLength(headBefore);
    const [days = '', none = ''] = calendar.split(/(?=\{"items")/);
    // No node has joined, so no key expires.
    const { items } = JSON.parse(days) as { readonly items: readonly { readonly nodes: number }[] };
    expect(items.map(({ nodes }) => nodes)).toEqual(Array.from({ length: 30 }, () => 0));
    expect(JSON.parse(none)).toMatchObject({ total: 0 });
    expect(JSON.parse(change)).toEqual({ changed: 1, unchanged: 0 });
    expect(fixture.entriesAfter(headBefore)[0]).toMatchObject({ what: 'node disabled', node: '0000a1b2' });
    expect(JSON.parse(job)).toMatchObject({ kind: 'nodes.change-many', total: 250 });
  });
});
