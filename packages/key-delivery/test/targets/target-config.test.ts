import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '@latchkey/runtime/config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { checkTargets } from '../../src/targets/target.js';
import { locatingProblems } from '../../src/targets/wrong-targets.js';
import { labelsOf, type TargetConfig, targetsSchema } from '../../src/targets/target-config.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-targets-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function load(...lines: readonly string[]): Promise<readonly TargetConfig[]> {
  const path = join(folder, 'deliver.yaml');
  await writeFile(path, ['targets:', ...lines, ''].join('\n'));
  return (await loadConfig(z.strictObject({ targets: targetsSchema }), path)).targets;
}

describe('targets:', () => {
  it('are read with their defaults', async () => {
    const [target] = await load('  - label: mqtt-psk', '    file: /etc/mosquitto/latchkey.psk', '    format: psk');
    expect(target).toMatchObject({ identity: '{id}@{kid}', also: [], mode: 0o600, debounce: 1, max_wait: 5 });
  });

  it('need the labels of all formats, each once', async () => {
    const targets = await load(
      '  - { label: a, file: /x/1, format: psk }',
      '  - { label: a, file: /x/2, format: hostapd }',
      '  - { file: /x/3, format: oscore }',
    );
    expect(labelsOf(targets)).toEqual(['a', 'oscore-master-secret', 'oscore-master-salt']);
  });

  it.each([
    ['{ label: a, file: x.psk, format: psk }', 'targets.0.file: expected an absolute path'],
    ['{ label: a, file: /x/../y, format: psk }', 'targets.0.file: expected an absolute path'],
    [
      '{ label: a, file: /x, format: ini }',
      'targets.0.format: expected one of psk, stunnel, hostapd, libcoap, oscore, jsonl, template',
    ],
    ['{ file: /x, format: psk }', 'targets.0.label: expected a label, e.g. mqtt-psk, and it is missing'],
    ['{ label: a, file: /x, format: oscore }', 'targets.0.label: expected none'],
    ['{ label: "latchkey key id", file: /x, format: psk }', 'expected a label that does not begin with "latchkey "'],
    ['{ label: "a\\nb", file: /x, format: psk }', 'expected 1 to 64 characters of ASCII'],
    ['{ label: a, file: /x, format: psk, mode: "0644" }', 'targets.0.mode: expected a mode that lets nobody else in'],
    ['{ label: a, file: /x, format: psk, mode: "0060" }', 'targets.0.mode: expected a mode that lets the owner read and write'],
    ['{ label: a, file: /x, format: psk, identity: "{kid}" }', 'targets.0.identity: expected one of {id}@{kid}, {id}'],
    ['{ label: a, file: /x, format: template }', 'targets.0.template: expected a path, and it is missing'],
    ['{ label: a, file: /x, format: psk, template: /t }', 'targets.0.template: expected none: only for format template'],
    ['{ label: a, file: /x, format: psk, reload: "systemctl reload x" }', 'targets.0.reload: expected a list'],
    ['{ label: a, file: /x, format: psk, reload: [] }', 'targets.0.reload: expected a list of 1 or more'],
    ['{ label: a, file: /x, format: psk, debounce: 10s }', 'targets.0.debounce: expected max_wait or less, not "10s"'],
    [
      '{ label: a, file: /x, format: psk, debounce: 1 }',
      'targets.0.debounce: expected a duration, e.g. 30s, 15m, or none, not 1',
    ],
    ['{ label: a, file: /x, format: psk, mode: 0600 }', 'targets.0.mode: expected an octal mode in quotes, e.g. "0600", not 600'],
    ['{ label: a, file: /x, format: psk, owner: "a b" }', 'targets.0.owner: expected USER or USER:GROUP'],
    ['{ label: a, file: /x, format: psk, overlap: 3m }', 'unknown key targets.0.overlap'],
  ])('%s is refused with its line and field', async (line, message) => {
    const failure: unknown = await load(`  - ${line}`).catch((error: unknown) => error);
    expect(String(failure)).toContain('deliver.yaml, line 2: ');
    expect(String(failure)).toContain(message);
  });

  it('that cannot work here are refused with file and line, all of them', async () => {
    const path = join(folder, 'deliver.yaml');
    const targets = await load(
      '  - { label: a, file: /x/1, format: psk, owner: no-such-user, reload: [no-such-program] }',
      '  - label: b',
      '    file: /x/2',
      '    format: template',
      `    template: ${folder}/none.tmpl`,
      '    also:',
      `      - { file: /x/3, template: ${path} }`,
      '  - { label: c, file: /x/4, format: psk, on_revoke: [/bin/sh], run_as: root }',
    );
    await writeFile(path, `${await readFile(path, 'utf8')}# {nonsense}\n`);
    const failure: unknown = await locatingProblems(path, () => checkTargets(targets)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'UsageFailure', exitCode: 2 });
    expect((failure as Error).message.split('\n').filter((line) => !line.startsWith('  '))).toEqual([
      `${path}, line 2: targets.0.reload: there is no program no-such-program`,
      `${path}, line 2: targets.0.owner: this machine has no user no-such-user in /etc/passwd and /etc/group`,
      `${path}, line 6: targets.1.template: cannot use the template ${folder}/none.tmpl: no such file or folder`,
      expect.stringContaining(`${path}, line 8: targets.1.also.0.template: ${path}, line 2: { label: a`),
    ]);
    expect((failure as Error).message).toContain('\n  Check the spelling. For a user from elsewhere write numbers');
  });

  it('write each file once', async () => {
    const lines = [
      '  - { label: a, file: /x/1, format: psk, also: [{ file: /x/2, template: /t }] }',
      '  - { label: b, file: /x/2, format: psk }',
    ];
    await expect(load(...lines)).rejects.toThrow('targets.1.file: expected another file: /x/2 is written already');
  });
});
