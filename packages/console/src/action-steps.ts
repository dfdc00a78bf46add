/**
 * Converts the action of a diagnosis to steps: place, text, and the command to paste. The commands
 * are those that `latchkey-auth-server node why` prints.
 */

import type { Action } from '@latchkey/operations/contract';
import type { StringKey } from './strings/index.js';

type Place = 'auth-server' | 'controller' | 'device';

export interface Step {
  readonly on: Place;
  readonly text: StringKey;
  readonly values: Readonly<Record<string, string>>;
  /** Words of a command line; `|` stands between two commands. */
  readonly command?: readonly string[];
}

const PROGRAM = 'latchkey-auth-server';
const AGENT = 'latchkey-node-agent';
const DEVICE = ['--state', '/var/lib/latchkey/node-agent'] as const;

export function stepsFor(action: Action): readonly Step[] {
  switch (action.kind) {
    case 'none':
      return [];
    case 'wait':
      return [
        action.until === null ? step('device', 'step.wait') : step('auth-server', 'step.wait-until', { until: action.until }),
      ];
    case 'ask-again':
      return [step('auth-server', 'step.ask-again', {}, PROGRAM, 'node', 'why', action.node)];
    case 'import-node': {
      const { node, joined_before: joinedBefore } = action;
      const text = joinedBefore === null ? 'step.install-if-joined' : 'step.install-joined';
      const again = step('device', text, {}, ...installAgain(node));
      return [step('auth-server', 'step.import', {}, ...importLine(node)), ...(joinedBefore === false ? [] : [again])];
    }
    case 'enable-node':
      return [step('auth-server', 'step.enable', {}, PROGRAM, 'node', 'enable', action.node)];
    case 'enrol-again': {
      const { node, installer, lifetime_seconds: lifetime, split } = action;
      const terms = ['--installer', installer, '--lifetime', durationOption(lifetime), ...deviceKeysOf(split)];
      return [
        step('auth-server', 'step.remove', {}, PROGRAM, 'node', 'remove', node),
        step('auth-server', 'step.import-again', {}, ...importLine(node, terms)),
      ];
    }
    case 'resume-order':
      return [step('auth-server', 'step.resume-order', {}, PROGRAM, 'order', 'resume', String(action.order))];
    case 'open-order': {
      const { order, join_until: until } = action;
      const terms = until === null ? [] : ['--join-until', until];
      return [step('auth-server', 'step.open-order', {}, PROGRAM, 'order', 'open', String(order), ...terms)];
    }
    case 'extend-grace': {
      const { node, grace_seconds: grace, asked_at: askedAt } = action;
      const extend = step('auth-server', 'step.extend-grace', {}, PROGRAM, 'node', 'set', node, '--grace', durationOption(grace));
      return askedAt === null ? [extend, step('device', 'step.look-if-not', {}, AGENT, 'status', ...DEVICE)] : [extend];
    }
    case 'move-node': {
      const { node, controller } = action;
      return [
        step('auth-server', 'step.move-node', { controller }, PROGRAM, 'node', 'move', node, '--controller', controller),
        moveDevice('step.move-device-too', action),
      ];
    }
    case 'move-device':
      return [moveDevice('step.move-device', action)];
    case 'reset-node':
      return resetNode(action);
    case 'reinstall-device':
      return [step('device', 'step.reinstall', {}, ...installAgain(action.node, action.split))];
    case 'check-device': {
      const { controller, address } = action;
      return [step('device', 'step.check-device', { controller, address }, AGENT, 'status', ...DEVICE)];
    }
    case 'check-way-back': {
      const { controller, address } = action;
      return [step('device', 'step.check-way-back', { controller, address }, AGENT, 'join', ...DEVICE, '--log-level', 'debug')];
    }
    case 'check-controller': {
      const { controller, address, servers } = action;
      if (servers.length === 0) return [step('controller', 'step.check-controller', { controller, address })];
      return [step('controller', 'step.check-controller-servers', { controller, address, servers: servers.join(', ') })];
    }
    case 'rotate-controller': {
      const out = `./controller-${action.controller}.json`;
      return [
        step('auth-server', 'step.rotate', {}, PROGRAM, 'controller', 'rotate', action.controller, '--out', out),
        step('controller', 'step.take-up-credential', { out }),
      ];
    }
    case 'set-clocks':
      return [step('controller', 'step.set-clocks', { controller: action.controller })];
    case 'release-clock':
      return [step('auth-server', 'step.release-clock', {}, PROGRAM, 'clock', 'release')];
    case 'check-disk':
      return [step('auth-server', 'step.check-disk')];
    case 'start-server':
      return [
        action.combined
          ? step('controller', 'step.start-controller')
          : step('auth-server', 'step.start-server', {}, PROGRAM, 'run'),
      ];
  }
}

/** What is left of a rotation: the controller has not used the staged SK_cs yet. */
export function stepsForStagedKey(controller: string, key: string): readonly Step[] {
  const out = `./controller-${controller}.json`;
  return [
    step('controller', 'step.take-up-staged', { key }),
    step('auth-server', 'step.rotate-if-lost', {}, PROGRAM, 'controller', 'rotate', controller, '--out', out),
  ];
}

function step(on: Place, text: StringKey, values: Step['values'] = {}, ...command: readonly string[]): Step {
  return { on, text, values, ...(command.length === 0 ? {} : { command }) };
}

function moveDevice(text: StringKey, { controller, address }: { readonly controller: string; readonly address: string }): Step {
  return step('device', text, { controller }, AGENT, 'move', ...DEVICE, '--controller', address, '--controller-id', controller);
}

function resetNode({ node, initial_key: key, split }: Extract<Action, { kind: 'reset-node' }>): readonly Step[] {
  const reset = [PROGRAM, 'node', 'reset', node];
  if (key === 'same')
    return [step('auth-server', 'step.reset-same', {}, ...reset, '--manifest', 'manifest.csv', ...deviceKeysOf(split))];
  const out = `./reset-${node}`;
  return [
    step('auth-server', 'step.reset-new', {}, ...reset, '--out', out, ...deviceKeysOf(split)),
    step('device', 'step.install-reset', { manifest: `${out}/manifest.csv` }, ...installAgain(node, split)),
  ];
}

/** Only the line of this node: other nodes of the manifest may have been removed on purpose. */
function importLine(node: string, more: readonly string[] = []): readonly string[] {
  return ['grep', '-e', '^id,', '-e', `^${node},`, 'manifest.csv', '|', PROGRAM, 'import', '-', ...more];
}

function installAgain(node: string, split?: true): readonly string[] {
  const deviceKey = split === true ? ['--device-key-file', 'device.key'] : [];
  return [AGENT, 'install', '--replace', ...DEVICE, '--manifest', 'manifest.csv', '--id', node, ...deviceKey];
}

function deviceKeysOf(split: true | undefined): readonly string[] {
  return split === true ? ['--device-keys', 'device-keys.csv'] : [];
}

/** As options of the commands take it: the largest unit that gives a whole number. */
function durationOption(seconds: number): string {
  if (seconds === 0) return 'none';
  const units: readonly (readonly [string, number])[] = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
  ];
  const [unit, length] = units.find(([, length]) => seconds % length === 0) ?? ['s', 1];
  return `${seconds / length}${unit}`;
}

/** A command as a shell takes it. */
export function commandText(words: readonly string[]): string {
  return words
    .map((word) => (word === '|' || /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(' ');
}
