// Proves that each step is a command that there is, with options that it takes, and that files it
// writes have names that are free.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { enrolAgain, freeName, stepsFor } from '@latchkey/operations';
import type { Action } from '@latchkey/operations/contract';
import { authServerProgram } from '../src/program.js';

const NODE = '0000a1b2';
const AT = { controller: '00000001', address: '192.0.2.1:5683' };

/** Each kind of action: one that is added must be here to compile. */
const ACTIONS: { readonly [K in Action['kind']]: readonly Extract<Action, { kind: K }>[] } = {
  none: [{ kind: 'none' }],
  wait: [
    { kind: 'wait', until: null },
    { kind: 'wait', until: '2026-11-24T15:31:19.975Z' },
  ],
  'ask-again': [{ kind: 'ask-again', node: NODE }],
  'import-node': [null, false, true].map((joined_before) => ({ kind: 'import-node', node: NODE, joined_before })),
  'enable-node': [{ kind: 'enable-node', node: NODE }],
  'enrol-again': [
    { kind: 'enrol-again', node: NODE, installer: "Kim's & Sons", lifetime_seconds: 90 },
    { kind: 'enrol-again', node: NODE, installer: 'Kim', lifetime_seconds: 90, split: true },
  ],
  'resume-order': [{ kind: 'resume-order', order: 3 }],
  'open-order': [
    { kind: 'open-order', order: 3, join_until: null },
    { kind: 'open-order', order: 3, join_until: '2026-11-24T15:31:19.975Z' },
  ],
  'extend-grace': [null, '2026-11-24T15:31:19.975Z'].map((asked_at) => ({
    kind: 'extend-grace',
    node: NODE,
    grace_seconds: 172_800,
    asked_at,
  })),
  'move-node': [{ kind: 'move-node', node: NODE, ...AT }],
  'move-device': [{ kind: 'move-device', node: NODE, ...AT }],
  'reset-node': [
    { kind: 'reset-node', node: NODE, initial_key: 'new' },
    { kind: 'reset-node', node: NODE, initial_key: 'same' },
  ],
  'reinstall-device': [{ kind: 'reinstall-device', node: NODE }],
  'check-device': [{ kind: 'check-device', node: NODE, ...AT }],
  'check-way-back': [{ kind: 'check-way-back', node: NODE, ...AT }],
  'check-controller': [
    { kind: 'check-controller', ...AT, servers: [] },
    { kind: 'check-controller', ...AT, servers: ['192.0.2.7:5693'] },
  ],
  'rotate-controller': [{ kind: 'rotate-controller', controller: AT.controller }],
  'set-clocks': [{ kind: 'set-clocks', controller: AT.controller }],
  'release-clock': [{ kind: 'release-clock' }],
  'check-disk': [{ kind: 'check-disk' }],
  'start-server': [
    { kind: 'start-server', combined: false },
    { kind: 'start-server', combined: true },
  ],
};

const program = await authServerProgram();

/** The command of the auth-server that the words name, and what follows it. */
function commandOf(words: readonly string[]): [Command, readonly string[]] {
  let command: Command = program;
  const [, ...rest] = words;
  for (;;) {
    const next = command.commands.find((sub) => sub.name() === rest[0]);
    if (next === undefined) return [command, rest];
    command = next;
    rest.shift();
  }
}

describe.each(Object.values(ACTIONS).flat())('the steps for %j', (action) => {
  const steps = stepsFor(action);

  it('are sentences, with a colon where a command follows', () => {
    expect(steps.length > 0).toBe(action.kind !== 'none');
    for (const { says, command } of steps) expect(says).toMatch(command === undefined ? /^[A-Z].*[.?]$/ : /^[A-Z].*:$/);
  });

  it('are commands that there are, with options that they take', () => {
    const words = steps.flatMap(({ command = [] }) => command.join(' ').split(' | '));
    for (const line of words.filter((text) => text.startsWith('latchkey-auth-server '))) {
      const [command, rest] = commandOf(line.split(' '));
      expect(command.commands, line).toEqual([]);
      const given = rest.filter((word) => word.startsWith('--'));
      const options = new Set(command.options.map(({ long }) => long));
      expect(given.filter((option) => !options.has(option))).toEqual([]);
      const mandatory = command.options.filter(({ mandatory: must, long }) => must && long !== '--data');
      expect(mandatory.filter(({ long }) => !given.includes(long ?? ''))).toEqual([]);
      const wanted = command.registeredArguments.filter(({ required }) => required);
      expect(rest.filter((word) => !word.startsWith('--')).length).toBeGreaterThanOrEqual(wanted.length);
    }
  });
});

it('a node is enrolled again with the terms that it had', () => {
  const [, imported] = enrolAgain(NODE, { installer: 'Kim', lifetime_seconds: 0 });
  expect(imported?.command?.slice(-4)).toEqual(['--installer', 'Kim', '--lifetime', 'none']);
  // Without its device key the installer's half would be taken for the whole initial key.
  const [, split] = enrolAgain(NODE, { installer: 'Kim', lifetime_seconds: 0, split: true });
  expect(split?.command?.slice(-2)).toEqual(['--device-keys', 'device-keys.csv']);
});

it('a name that is taken is not named', async () => {
  const folder = await tempFolder();
  const [out, credential] = [join(folder, 'reset-1'), join(folder, 'controller-1.json')];
  expect([freeName(out), freeName(credential)]).toEqual([out, credential]);
  await mkdir(out);
  await mkdir(`${out}-2`);
  await writeFile(credential, '');
  expect([freeName(out), freeName(credential)]).toEqual([`${out}-3`, join(folder, 'controller-1-2.json')]);
});
