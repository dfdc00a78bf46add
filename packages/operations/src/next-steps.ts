/** Converts the action of a diagnosis to steps for a person: place, action, and command line. */

import type { CommandLine } from '@latchkey/runtime/failure';
import { existsSync } from 'node:fs';
import { STATE_FOLDERS } from '@latchkey/runtime/cli';
import { formatDuration } from '@latchkey/runtime/config';
import type { Action } from './contract/diagnosis.js';

/** The place of a step. */
type Place = 'auth-server' | 'controller' | 'device';

export interface Step {
  readonly on: Place;
  /** Ends with a colon where a command follows. */
  readonly says: string;
  readonly command?: CommandLine;
}

const PROGRAM = 'latchkey-auth-server';
const AGENT = 'latchkey-node-agent';
const DEVICE = ['--state', STATE_FOLDERS['node-agent']] as const;
const TRIES_AGAIN = 'It tries again by itself, within 10 minutes.';

export function stepsFor(action: Action): readonly Step[] {
  switch (action.kind) {
    case 'none':
      return [];
    case 'wait':
      return [
        action.until === null
          ? { on: 'device', says: `Wait. ${TRIES_AGAIN}` }
          : { on: 'auth-server', says: `Wait until ${action.until}.` },
      ];
    case 'ask-again':
      return [{ on: 'auth-server', says: 'Ask again in a minute:', command: [PROGRAM, 'node', 'why', action.node] }];
    case 'import-node':
      return importNode(action);
    case 'enable-node':
      return [{ on: 'auth-server', says: 'Enable it:', command: [PROGRAM, 'node', 'enable', action.node] }];
    case 'enrol-again':
      return enrolAgain(action.node, action);
    case 'resume-order':
      return [resumeOrder(action)];
    case 'open-order':
      return [openOrder(action)];
    case 'extend-grace':
      return extendGrace(action);
    case 'move-node':
      return [
        {
          on: 'auth-server',
          says: `If controller ${action.controller} is the right one, assign the node to it:`,
          command: [PROGRAM, 'node', 'move', action.node, '--controller', action.controller],
        },
        moveDevice(action, 'Stop the agent. On the device, name that controller:'),
      ];
    case 'move-device':
      return [moveDevice(action, `If controller ${action.controller} is the right one, stop the agent. On the device, name it:`)];
    case 'reset-node':
      return action.initial_key === 'new' ? resetNode(action) : [resetToSameKey(action)];
    case 'reinstall-device':
      return [
        {
          on: 'device',
          says: 'Stop the agent. On the device, install it again from the manifest that it came with:',
          command: installAgain(action),
        },
      ];
    case 'check-device':
      return [checkDevice(action)];
    case 'check-way-back':
      return [
        {
          on: 'device',
          says:
            `Look at the way from controller ${action.controller} to the device: the answers must come from ${action.address}, ` +
            'and a firewall must let UDP through. Stop the agent. On the device, see what comes:',
          command: [AGENT, 'join', ...DEVICE, '--log-level', 'debug'],
        },
      ];
    case 'check-controller':
      return [checkController(action)];
    case 'rotate-controller':
      return rotateController(action.controller);
    case 'set-clocks':
      return [
        {
          on: 'controller',
          says: `Set the clocks of controller ${action.controller} and of the auth-server by NTP. The node then tries again by itself.`,
        },
      ];
    case 'release-clock':
      return [
        {
          on: 'auth-server',
          says: 'If that is too long, read docs/OPERATIONS.md, "Clocks", and end it:',
          command: [PROGRAM, 'clock', 'release'],
        },
      ];
    case 'check-disk':
      return [
        {
          on: 'auth-server',
          says: 'Look at the log of the auth-server, and at the disk of the registry: is it full, or read-only? The node then tries again by itself.',
        },
      ];
    case 'start-server':
      return [startServer(action.combined)];
  }
}

/** Removes a node whose order is closed for good, and imports it again from its manifest. */
export function enrolAgain(
  node: string,
  {
    installer,
    lifetime_seconds: lifetime,
    split,
  }: { readonly installer: string; readonly lifetime_seconds: number; readonly split?: true | undefined },
): readonly Step[] {
  return [
    {
      on: 'auth-server',
      says: 'An order that is closed opens no more. If the node may join all the same, remove it:',
      command: [PROGRAM, 'node', 'remove', node],
    },
    {
      on: 'auth-server',
      says: 'Then import its line of the manifest again:',
      command: importLine(node, ['--installer', installer, '--lifetime', formatDuration(lifetime), ...deviceKeysOf(split)]),
    },
  ];
}

/** Only the line of this node: other nodes of the manifest may have been removed on purpose. */
function importLine(node: string, more: readonly string[] = []): CommandLine {
  return ['grep', '-e', '^id,', '-e', `^${node},`, 'manifest.csv', '|', PROGRAM, 'import', '-', ...more];
}

function importNode({ node, joined_before: joinedBefore }: Extract<Action, { kind: 'import-node' }>): readonly Step[] {
  const again: Step = {
    on: 'device',
    says:
      joinedBefore === null
        ? 'If the device has joined before, it holds another key by now. Stop the agent. On the device, install it again:'
        : 'The device has joined before, and holds another key. Stop the agent. On the device, install it again:',
    command: installAgain({ node }),
  };
  return [
    {
      on: 'auth-server',
      says: 'Compare the ID with the label of the device. If it is right, import its line of the manifest that it came with:',
      command: importLine(node),
    },
    ...(joinedBefore === false ? [] : [again]),
  ];
}

function resumeOrder({ order }: Extract<Action, { kind: 'resume-order' }>): Step {
  return {
    on: 'auth-server',
    says: 'Resume the order:',
    command: [PROGRAM, 'order', 'resume', String(order)],
  };
}

function openOrder({ order, join_until: until }: Extract<Action, { kind: 'open-order' }>): Step {
  return {
    on: 'auth-server',
    says: until === null ? 'Open the order:' : 'To open the order now:',
    command: [PROGRAM, 'order', 'open', String(order), ...(until === null ? [] : ['--join-until', until])],
  };
}

function extendGrace(action: Extract<Action, { kind: 'extend-grace' }>): readonly Step[] {
  const { node, grace_seconds: grace, asked_at: askedAt } = action;
  const set: Step = {
    on: 'auth-server',
    says: 'Give the node more grace. It can then renew the key that it has, and tries again within 10 minutes:',
    command: [PROGRAM, 'node', 'set', node, '--grace', formatDuration(grace)],
  };
  if (askedAt !== null) return [set];
  return [
    set,
    {
      on: 'device',
      says: 'If it does not, look at its power and at the way to its controller. On the device, see what it met last:',
      command: [AGENT, 'status', ...DEVICE],
    },
  ];
}

function moveDevice({ controller, address }: { readonly controller: string; readonly address: string }, says: string): Step {
  return {
    on: 'device',
    says,
    command: [AGENT, 'move', ...DEVICE, '--controller', address, '--controller-id', controller],
  };
}

/** A node whose initial key is the matter. */
interface Keyed {
  readonly node: string;
  /** A device key is one half of the key. */
  readonly split?: true | undefined;
}

/** With a key that no recorded message was made under: the device must be installed with it. */
function resetNode({ node, split }: Keyed): readonly Step[] {
  const out = freeName(`./reset-${node}`);
  return [
    {
      on: 'auth-server',
      says: 'If the device holds another key, give the node a new initial key:',
      command: [PROGRAM, 'node', 'reset', node, '--out', out, ...deviceKeysOf(split)],
    },
    {
      on: 'device',
      says: `Take ${out}/manifest.csv to the device, and stop the agent. On the device, install it again:`,
      command: installAgain({ node, split }),
    },
  ];
}

function resetToSameKey({ node, split }: Keyed): Step {
  return {
    on: 'auth-server',
    says:
      'If the device was installed again from its manifest, and nobody else has that, take the node back to that key. ' +
      'The agent must have been stopped for 130 s before it was installed:',
    command: [PROGRAM, 'node', 'reset', node, '--manifest', 'manifest.csv', ...deviceKeysOf(split)],
  };
}

/** The half of the initial key that no manifest has. */
function deviceKeysOf(split: true | undefined): readonly string[] {
  return split === true ? ['--device-keys', 'device-keys.csv'] : [];
}

function installAgain({ node, split }: Keyed): CommandLine {
  const deviceKey = split === true ? ['--device-key-file', 'device.key'] : [];
  return [AGENT, 'install', '--replace', ...DEVICE, '--manifest', 'manifest.csv', '--id', node, ...deviceKey];
}

function checkDevice({ controller, address }: Extract<Action, { kind: 'check-device' }>): Step {
  return {
    on: 'device',
    says:
      `Look at the device: its power, its ID, the way to controller ${controller} at ${address}. ` +
      'On the device, see which controller it asks, and what it met last:',
    command: [AGENT, 'status', ...DEVICE],
  };
}

function checkController({ controller, address, servers }: Extract<Action, { kind: 'check-controller' }>): Step {
  const to = servers.length === 0 ? 'the auth-server' : `the auth-server at ${servers.join(', ')}`;
  return {
    on: 'controller',
    says: `Look at controller ${controller}, at ${address}: does it run, and what does its log say of ${to}? Firewalls must let UDP through.`,
  };
}

function rotateController(controller: string): readonly Step[] {
  const out = freeName(`./controller-${controller}.json`);
  return [
    {
      on: 'auth-server',
      says: 'Give it the credential that was made for it, or write another:',
      command: [PROGRAM, 'controller', 'rotate', controller, '--out', out],
    },
    { on: 'controller', says: `${PUT_CREDENTIAL} ${out} in the place of its credential. ${TAKE_UP_CREDENTIAL}` },
  ];
}

const PUT_CREDENTIAL = 'On the gateway of the controller, put';
/** How a controller adopts another credential. */
export const TAKE_UP_CREDENTIAL = 'Then send the controller SIGHUP, or restart it where it is a unit of systemd.';

function startServer(combined: boolean): Step {
  return combined
    ? { on: 'controller', says: 'Start the controller, as it is started on this machine. Nodes then try again by themselves.' }
    : {
        on: 'auth-server',
        says: 'Start it, with the options that it is run with here, or as a unit of systemd. Nodes then try again by themselves:',
        command: [PROGRAM, 'run'],
      };
}

/** The name, or the first of `name-2`, `name-3`, ... that nothing has in the working directory. */
export function freeName(name: string): string {
  if (!existsSync(name)) return name;
  const [, stem = name, extension = ''] = /^(.*?)(\.json)?$/.exec(name) ?? [];
  for (let i = 2; ; i++) {
    const next = `${stem}-${i}${extension}`;
    if (!existsSync(next)) return next;
  }
}
