/** The three commands that get installed. */

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { authServerProgram } from '@latchkey/auth-server/program';
import { controllerProgram } from '@latchkey/controller/program';
import { nodeAgentProgram } from '@latchkey/node-agent/program';
import type { Command } from 'commander';

export interface Product {
  /** `auth-server`: its folder of packages/. */
  readonly name: string;
  /** `latchkey-auth-server`: command and package. */
  readonly command: string;
  readonly program: Command;
  /** Paragraphs for a package manager. */
  readonly about: readonly string[];
  /**
   * What is bundled, by the name of its file in `dist`: modules of its package. `main` is the
   * command.
   */
  readonly entries: Readonly<Record<string, string>>;
  /** Parts of packages that are bundled instead of all of it. */
  readonly parts: Readonly<Record<string, string>>;
  /** What it loads that is built for a processor, and is therefore not in the bundle. */
  readonly natives: readonly string[];
  /** Whether the browser console comes with it. */
  readonly hasConsole?: true | undefined;
}

/** The checkout. */
export const ROOT: string = join(dirname(fileURLToPath(import.meta.url)), '../../../..');

const LATCHKEY =
  'Latchkey replaces the key an installer gave a device by one that only the device and its network know, over CoAP.';

export const PRODUCTS: readonly Product[] = [
  {
    ...product(
      'auth-server',
      await authServerProgram(),
      ['fs-native-extensions', 'koffi', 'lmdb'],
      'the registry of nodes and keys',
    ),
    hasConsole: true,
  },
  {
    ...product(
      'controller',
      controllerProgram(),
      ['fs-native-extensions', 'koffi', 'lmdb'],
      'the gateway that nodes join through',
    ),
    entries: { main: 'launcher.js', program: 'start.js' },
    // In combined mode it has the registry, and serves the API.
    hasConsole: true,
  },
  {
    ...product('node-agent', nodeAgentProgram(), ['fs-native-extensions', 'koffi'], 'the part on the device itself'),
    entries: { main: 'launcher.js', program: 'start.js' },
    // A client alone: with the index would come the server, and two agents that open a socket each.
    parts: { coap: 'coap/dist/lib/agent.js' },
  },
];

function product(name: string, program: Command, natives: readonly string[], part: string): Product {
  return {
    name,
    command: `latchkey-${name}`,
    program,
    entries: { main: 'main.js' },
    parts: {},
    natives,
    about: [LATCHKEY, `This package is ${part}.`],
  };
}
