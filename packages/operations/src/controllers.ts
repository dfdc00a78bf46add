/** What an administrator does with controllers. */

import { formatId, MAX_LINK_MESSAGES, type Secret } from '@latchkey/protocol';
import {
  COMBINED_MODE_HOLDER,
  type ControllerActivity,
  type ControllerInfo,
  type ControllerRecord,
  notFound,
  type Registry,
  toControllerInfo,
  wipeKeys,
} from '@latchkey/registry';
import type { Credential } from '@latchkey/provisioning';
import { readFolderLock } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { formatEndpoint } from '@latchkey/runtime/net';
import { addController, refuseWithNodes, removeController, setController, stageControllerKey } from './administration.js';
import * as contract from './contract/controllers.js';
import type {
  ControllerAddInput,
  ControllerChange,
  ControllerDetails,
  ControllerInput,
  ControllerList,
  ControllerRotation,
  ControllerSetInput,
  ControllerSettings,
  ControllerView,
} from './contract/controllers.js';
import { changedControllerDescription, viewControllerDescription } from './descriptions.js';
import { unknownController } from './enrolment.js';
import { keysHeldBy } from './key-holders.js';
import { endpointFrom, numberFromId } from './parse-input.js';
import { countNodes, queryNodes } from './node-query.js';
import { type Approval, type Context, implement, inTurn, type Operation } from './operation.js';
import { generateKey } from './order-creation.js';

/** A request, and the answer under the same key. */
const MESSAGES_PER_REQUEST = 2;

export const controllersList: Operation<object, ControllerList> = implement(contract.controllersList, async ({ registry }) => {
  const controllers = await registry.controllers();
  const items = await viewControllers(
    registry,
    controllers.map(({ idC }) => idC),
  );
  return { items };
});

export const controllersShow: Operation<ControllerInput, ControllerDetails> = implement(
  contract.controllersShow,
  async (context, { id }) => {
    const { registry, clock } = context;
    const idC = numberFromId(id);
    const [view] = await viewControllers(registry, [idC]);
    if (view === undefined) throw notFound('controller', idC);
    const { nodes, joined } = await countNodes(registry, { controller: idC }, clock().wallMs);
    return { ...view, nodes, joined };
  },
);

/** Receives the credential of a controller, which holds its SK_cs. */
export interface CredentialContext extends Context {
  /**
   * Stores the credential, then changes the registry. Deletes the credential if that fails.
   *
   * @param change resolves once the registry has the credential
   */
  readonly handOver: (credential: Credential, change: () => Promise<void>) => Promise<void>;
}

export const controllersAdd: Operation<ControllerAddInput, ControllerInput, CredentialContext> = implement(
  contract.controllersAdd,
  async ({ registry, clock, handOver }: CredentialContext, { id, pass_through: passThrough, ...input }) => {
    const description = changedControllerDescription({}, input)?.after;
    const idC = numberFromId(id);
    if (passThrough) await refuseIfCombined(registry);
    if ((await registry.controllerRow(idC)) !== undefined) {
      throw new UsageFailure(`controller ${id} is in the registry already`, {
        advice: 'Nothing was changed. To change its addresses: latchkey-auth-server controller set --help',
      });
    }
    const [nid, servers, skCs] = [
      endpointFrom('nid', input.nid),
      input.servers.map((server) => endpointFrom('servers', server)),
      generateKey(),
    ];
    const { wallMs: addedAt } = clock();
    await handOver({ idC, skCs, servers }, () =>
      addController(registry, { idC, skCs, nid, servers, addedAt, passThrough, description }),
    );
    return { id };
  },
);

export const controllersRotate: Operation<ControllerInput, ControllerRotation, CredentialContext> = implement(
  contract.controllersRotate,
  async ({ registry, handOver }: CredentialContext, { id }) => {
    const idC = numberFromId(id);
    const { servers } = await requireController(registry, idC);
    const [view] = await viewControllers(registry, [idC]);
    const discarded = view?.staged_key ?? null;
    const skCs: Secret = generateKey();
    await handOver({ idC, skCs, servers }, () => stageControllerKey(registry, idC, skCs));
    return { id, discarded_key: discarded };
  },
);

export const controllersRemove: Operation<ControllerInput, ControllerInput, Context & Approval<ControllerInput>> = implement(
  contract.controllersRemove,
  async ({ registry, approve }: Context & Approval<ControllerInput>, { id }) => {
    const idC = numberFromId(id);
    if ((await registry.controllerRow(idC)) === undefined) throw notFound('controller', idC);
    await refuseWithNodes(registry, idC);
    await approve?.({ id });
    await removeController(registry, idC);
    return { id };
  },
);

export const controllersSet: Operation<ControllerSetInput, ControllerChange> = implement(
  contract.controllersSet,
  async (context, { id, nid, servers, pass_through: passThrough, ...description }) => {
    const { registry, clock } = context;
    const idC = numberFromId(id);
    if (passThrough === true) await refuseIfCombined(registry);
    const before = await settingsOf(registry, idC);
    const changed = await setController(registry, idC, {
      ...(nid === undefined ? {} : { nid: endpointFrom('nid', nid) }),
      ...(servers === undefined ? {} : { servers: servers.map((server) => endpointFrom('servers', server)) }),
      ...(passThrough === undefined ? {} : { passThrough }),
      description,
    });
    const held = passThrough === true ? await inTurn(context, () => keysHeldBy(registry, idC)) : undefined;
    const after = await settingsOf(registry, idC);
    return {
      id,
      changed,
      ...after,
      ...(held === undefined ? {} : { keys_held: held.nodes.map(formatId), keys_held_unknown: held.unknown.map(formatId) }),
      before,
      nodes: after.nid === before.nid ? null : await installedNodes(registry, idC, clock().wallMs),
      registry_restored: registry.restored !== undefined,
    };
  },
);

async function settingsOf(registry: Registry, idC: number): Promise<ControllerSettings> {
  const row = await registry.controllerRow(idC);
  if (row === undefined) throw notFound('controller', idC);
  const { nid, servers, passThrough, description } = row;
  return {
    ...viewControllerDescription(description),
    nid: formatEndpoint(nid),
    servers: servers.map(formatEndpoint),
    pass_through: passThrough === true,
  };
}

/** Nodes of a controller, without those whose order is closed before they joined. */
async function installedNodes(registry: Registry, idC: number, now: number): Promise<NonNullable<ControllerChange['nodes']>> {
  let joined = 0;
  const waiting = new Map<number, number>();
  for await (const page of queryNodes(registry, { controller: idC }, now))
    for (const { initial, order, orderState } of page) {
      if (!initial) joined += 1;
      else if (orderState !== 'closed') waiting.set(order, (waiting.get(order) ?? 0) + 1);
    }
  return { joined, waiting: [...waiting].toSorted(([a], [b]) => a - b).map(([order, nodes]) => ({ order, nodes })) };
}

/** A controller that holds the registry itself cannot be kept from the keys in it. */
async function refuseIfCombined({ folder }: Registry): Promise<void> {
  const { locked, holder } = await readFolderLock(folder);
  if (!locked || holder?.startsWith(COMBINED_MODE_HOLDER) !== true) return;
  throw new UsageFailure(
    `a controller in combined mode runs on ${folder}: it holds every key itself, and cannot be pass-through`,
    {
      advice: 'Nothing was changed. Run an auth-server on the registry, and the controller with `mode: relay`, first.',
    },
  );
}

/** The controller without its keys, or a UsageFailure that says how to add it. */
export async function requireController(registry: Registry, idC: number): Promise<ControllerInfo> {
  const row = await registry.controllerRow(idC);
  if (row !== undefined) return toControllerInfo(idC, row);
  throw unknownController(idC);
}

/** As `requireController`, of several, in the order of `ids`. */
export async function requireControllers(registry: Registry, ids: readonly number[]): Promise<ControllerInfo[]> {
  const found = await controllersById(registry, ids);
  return ids.map((idC) => {
    const controller = found.get(idC);
    if (controller === undefined) throw unknownController(idC);
    return controller;
  });
}

/** Those that are there, without their keys, as of one moment. */
export function controllersById(registry: Registry, ids: readonly number[]): Promise<ReadonlyMap<number, ControllerInfo>> {
  return registry.read(
    { controllers: ids },
    (found) =>
      new Map(
        ids.flatMap((idC) => {
          const row = found.controller(idC)?.row;
          return row === undefined ? [] : [[idC, toControllerInfo(idC, row)] as const];
        }),
      ),
  );
}

/** Those that are there, as of one moment. */
function viewControllers(registry: Registry, ids: readonly number[]): Promise<ControllerView[]> {
  return registry.read({ controllers: ids, controllerActivity: ids }, (found) =>
    ids.flatMap((idC) => {
      const row = found.controller(idC)?.row;
      return row === undefined ? [] : [viewController(registry.unsealController(idC, row), found.controllerActivity(idC))];
    }),
  );
}

/** Wipes the controller's keys. */
function viewController(controller: ControllerRecord, activity: ControllerActivity = {}): ControllerView {
  const { lastSeen, authenticationFailed, clockSkew } = activity;
  const isFailing = authenticationFailed !== undefined && authenticationFailed.at > (lastSeen?.at ?? -Infinity);
  const view = {
    id: formatId(controller.idC),
    ...viewControllerDescription(controller.description),
    nid: formatEndpoint(controller.nid),
    servers: controller.servers.map(formatEndpoint),
    key: controller.skCs.fingerprint,
    staged_key: controller.stagedSkCs?.fingerprint ?? null,
    pass_through: controller.passThrough === true,
    pass_through_switched_at: controller.switchedAt === undefined ? null : isoTime(controller.switchedAt),
    added_at: isoTime(controller.addedAt),
    last_seen_at: lastSeen === undefined ? null : isoTime(lastSeen.at),
    used_key: lastSeen?.key ?? null,
    used_key_since: lastSeen === undefined ? null : isoTime(lastSeen.since),
    used_key_requests: lastSeen?.count ?? null,
    used_key_ratio: lastSeen === undefined ? null : Math.min(1, (lastSeen.count * MESSAGES_PER_REQUEST) / MAX_LINK_MESSAGES),
    authentication_failing_since: isFailing ? isoTime(authenticationFailed.since) : null,
    clock_skew_ms: clockSkew?.skew ?? null,
    clock_skewed_since: clockSkew === undefined ? null : isoTime(clockSkew.since),
    clock_skewed_at: clockSkew === undefined ? null : isoTime(clockSkew.at),
    clock_skewed_requests: clockSkew?.count ?? null,
  };
  wipeKeys(controller);
  return view;
}
