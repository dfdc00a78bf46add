/**
 * The rules a world is played by: the roles of @latchkey/protocol and the shells around them. A
 * mutant is the same with one part replaced; that some seed catches each of them is the proof that
 * this simulator can find faults.
 */

import { Administrator } from './administrator.js';
import { SimulatedController } from './controller.js';
import { SimulatedKeyStore } from './simulated-key-store.js';
import { SimulatedNode } from './node.js';
import { PROFILE_ROLES, type Roles } from './roles.js';
import { SimulatedServer } from './server.js';
import { type DatabaseRules, ENGINE_RULES } from './shared-registry/rules.js';

export interface Rules {
  readonly roles: Roles;
  readonly Node: typeof SimulatedNode;
  readonly Controller: typeof SimulatedController;
  readonly Server: typeof SimulatedServer;
  readonly KeyStore: typeof SimulatedKeyStore;
  readonly Administrator: typeof Administrator;
  /** Of a registry that servers share. */
  readonly database: DatabaseRules;
}

export const PROFILE: Rules = {
  roles: PROFILE_ROLES,
  Node: SimulatedNode,
  Controller: SimulatedController,
  Server: SimulatedServer,
  KeyStore: SimulatedKeyStore,
  Administrator,
  database: ENGINE_RULES,
};
