/** Resets nodes to an initial key: their former one, a named one, or a new one for each. */

import { formatId, type Secret } from '@latchkey/protocol';
import type { ManifestLine } from '@latchkey/provisioning';
import {
  chunksOf,
  type ControllerInfo,
  InitialKeyInfo,
  type NodeInfo,
  type NodeRow,
  notFound,
  type Registry,
} from '@latchkey/registry';
import { readFolderLock } from '@latchkey/runtime/files';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { findHeldInitialKey, type InitialKey, otherHolderOf, resetNodes } from './administration.js';
import type { Diagnosis } from './contract/diagnosis.js';
import * as contract from './contract/nodes.js';
import type { NodeReset, NodeResetInput } from './contract/nodes.js';
import { controllersById } from './controllers.js';
import { diagnoseNode } from './diagnosis.js';
import { surroundingsOf } from './diagnosis-situation.js';
import { unknownController } from './enrolment.js';
import type { DeviceKeys } from './import/device-keys.js';
import { enrolAgain, freeName } from './next-steps.js';
import { idsOf } from './node-query.js';
import { type Approval, type Context, implement, inTurn, type Operation, withProgress } from './operation.js';
import { generateKey } from './order-creation.js';
import { orderNotFound, requireOrder } from './order-lookup.js';
import { type KeyOutput, requireHolder } from './orders.js';
import { numberFromId } from './parse-input.js';
import { type AfterPart, NODES_PER_TRANSACTION, PartlyDone } from './parts.js';
import { pluralize } from './pluralize.js';
import { isVisible, requireVisibleNodes } from './visibility.js';

/** What is about to happen. */
export interface ResetPreview {
  readonly nodes: number;
  /** Fingerprint of the initial key, if one node was named. */
  readonly key: string | null;
  /** Another node that has the initial key that was named. */
  readonly also_held_by: string | null;
}

export interface ResetContext extends Context, Approval<ResetPreview> {
  /** Reads the initial key to go back to, or the installer's half of it. */
  readonly readKey?: ((idI: number) => Promise<Secret>) | undefined;
  /** Opens the output of the manifest for this number of nodes, if initial keys are generated. */
  readonly openOutput?: ((nodes: number) => Promise<KeyOutput>) | undefined;
  /** Called after each part of the nodes whose initial keys are generated. */
  readonly afterPart?: AfterPart | undefined;
  /** Reads device keys, if the generated or named key is the installer's half. */
  readonly readDeviceKeys?: (() => Promise<DeviceKeys>) | undefined;
}

export const nodesReset: Operation<NodeResetInput, NodeReset, ResetContext> = implement(
  contract.nodesReset,
  async (context: ResetContext, input) => {
    const { registry, readDeviceKeys } = context;
    const manufacturer = requireHolder(readDeviceKeys, input.manufacturer);
    const ids = await selectNodes(context, input);
    const mayBeSplit = manufacturer !== undefined || input.unsplit;
    if (!mayBeSplit) await refuseSplits(registry, ids);
    const check: Check = (idI, row) => {
      // It may be of another order by now.
      if (!isVisible(context.visibleOrders, row.order)) throw notFound('node', idI);
      if (!mayBeSplit) refuseSplit(idI, row);
    };
    const deviceKeys = await readDeviceKeys?.();
    const splitting = deviceKeys === undefined || manufacturer === undefined ? undefined : { deviceKeys, manufacturer };
    try {
      const [only] = ids;
      return only !== undefined && ids.length === 1 && input.order === undefined
        ? await resetOne(context, only, { splitting, check })
        : await resetAll(context, ids, { splitting, check, onlyInitial: input.order !== undefined, holding: input.holding });
    } finally {
      deviceKeys?.wipe();
    }
  },
);

/** What makes an initial key of the installer's half. */
interface Splitting {
  readonly deviceKeys: DeviceKeys;
  readonly manufacturer: string;
}

async function selectNodes(context: Context, { ids, order, holding }: NodeResetInput): Promise<readonly number[]> {
  if (ids !== undefined) {
    const named = [...new Set(ids.map(numberFromId))];
    await requireVisibleNodes(context, named);
    return named;
  }
  const { registry, clock } = context;
  if (order !== undefined && !isVisible(context.visibleOrders, order)) throw orderNotFound(order);
  if (holding !== undefined && context.visibleOrders !== undefined)
    throw new UsageFailure('a caller that sees some orders only is shown no fingerprints, and names none', {
      advice: 'Nothing was changed. Name the nodes, or the order only.',
    });
  const found = await inTurn(context, () => idsOf(registry, { order, neverJoined: true }, clock().wallMs));
  return order === undefined || holding === undefined ? found : holdersOf(registry, found, { order, holding });
}

/** @throws UsageFailure if no node of the order holds the key */
async function holdersOf(
  registry: Registry,
  ids: readonly number[],
  { order, holding }: { readonly order: number; readonly holding: string },
): Promise<readonly number[]> {
  const holders: number[] = [];
  await registry.readNodes(ids, (found, part) => {
    for (const idI of part) {
      const row = found.node(idI)?.row;
      if (row?.initial === true && fingerprintOf(row) === holding) holders.push(idI);
    }
  });
  if (holders.length === 0) throw noHolder(order, holding);
  return holders;
}

/** No node of the order holds the initial key of this fingerprint. */
export function noHolder(order: number, holding: string): UsageFailure {
  return new UsageFailure(`no node of order ${order} holds the initial key ${holding} any more`, {
    advice: 'Nothing was changed. See which initial keys the nodes of the order have:',
    run: [['latchkey-auth-server', 'order', 'exposure', String(order)]],
  });
}

/** Of the initial key of a node. */
function fingerprintOf({ ik }: NodeRow): string {
  return new InitialKeyInfo(ik, 0).fingerprint;
}

/** Throws if a node must not be reset. */
type Check = (idI: number, row: NodeRow) => void;

/**
 * Checked before the confirmation and before keys are generated. The write of each node checks
 * again.
 */
async function refuseSplits(registry: Registry, ids: readonly number[]): Promise<void> {
  await registry.readNodes(ids, (found, part) => {
    for (const idI of part) {
      const row = found.node(idI)?.row;
      if (row !== undefined) refuseSplit(idI, row);
    }
  });
}

/** A whole key in place of a split one lets the installer join again: the caller must permit it. */
function refuseSplit(idI: number, { split }: NodeRow): void {
  if (split !== true) return;
  throw new UsageFailure(`the initial key of node ${formatId(idI)} is split: a device key is one half of it`, {
    advice:
      'Nothing was changed. Name the file of the device keys with --device-keys; or say --unsplit, and give the installer the whole key.',
  });
}

/** Derives the initial key from the generated or named key. */
function combine(idI: number, key: Secret, splitting: Splitting | undefined): InitialKey {
  if (splitting === undefined) return { ik: key };
  const { deviceKeys, manufacturer } = splitting;
  const ik = deviceKeys.combine(idI, key);
  if (ik !== undefined) return { ik, split: { half: key, manufacturer } };
  throw new UsageFailure(`${deviceKeys.name} has no device key for node ${formatId(idI)}`, {
    advice: 'Nothing was changed. Name the file that has it.',
  });
}

/** The part that the installer gets. */
function installerPart({ ik, split }: InitialKey): Secret {
  return split?.half ?? ik;
}

function wipeKey(key: InitialKey): void {
  key.ik.wipe();
  installerPart(key).wipe();
}

/** A node that will be reset, and its controller. */
interface NodeToReset {
  readonly idI: number;
  readonly controller: ControllerInfo;
}

/**
 * Nodes with their controllers, in the order of `ids`: all of a part in two reads.
 *
 * @throws where a node is not there, or an initial key would not let it in
 */
async function* nodesToReset(registry: Registry, ids: readonly number[]): AsyncGenerator<NodeToReset> {
  for (const part of chunksOf(ids, NODES_PER_TRANSACTION)) {
    const nodes = new Map((await registry.nodesById(part)).map((node) => [node.idI, node]));
    const assigned = [...new Set([...nodes.values()].map(({ controller }) => controller))];
    const controllers = await controllersById(registry, assigned);
    for (const idI of part) {
      const node = nodes.get(idI);
      if (node === undefined) throw notFound('node', idI);
      if (node.orderState === 'closed') throw await closedForGood(registry, node);
      const controller = controllers.get(node.controller);
      if (controller === undefined) throw unknownController(node.controller);
      yield { idI, controller };
    }
  }
}

async function closedForGood(registry: Registry, { idI, order, lifetime, split }: NodeInfo): Promise<UsageFailure> {
  const id = formatId(idI);
  const steps = enrolAgain(id, {
    installer: (await requireOrder(registry, order)).installer,
    lifetime_seconds: lifetime,
    ...(split ? { split: true } : {}),
  });
  return new UsageFailure(`order ${order} of node ${id} is closed for good: with an initial key it cannot join`, {
    advice: 'Nothing was changed. If the node may join all the same, remove it, and import its line of the manifest again:',
    run: steps.flatMap(({ command }) => (command === undefined ? [] : [command])),
  });
}

async function controllerOf(registry: Registry, idI: number): Promise<ControllerInfo> {
  for await (const { controller } of nodesToReset(registry, [idI])) return controller;
  throw notFound('node', idI);
}

function manifestLine({ idI, controller: { idC, nid } }: NodeToReset, key: InitialKey): ManifestLine {
  return { idI, idC, controller: nid, ik: installerPart(key) };
}

interface ResetTerms {
  readonly splitting: Splitting | undefined;
  readonly check: Check;
}

async function resetOne(context: ResetContext, idI: number, terms: ResetTerms): Promise<NodeReset> {
  const controller = await controllerOf(context.registry, idI);
  const { given, output } = await findKey(context, idI);
  let key: InitialKey = { ik: given };
  try {
    key = combine(idI, given, terms.splitting);
    return await giveKey(context, { idI, controller }, { ...terms, key, output });
  } finally {
    wipeKey(key);
  }
}

interface GivenKey extends ResetTerms {
  readonly key: InitialKey;
  readonly output: KeyOutput | undefined;
}

async function giveKey(
  context: ResetContext,
  { idI, controller }: NodeToReset,
  { key, output, splitting, check }: GivenKey,
): Promise<NodeReset> {
  const { registry, approve, visibleOrders } = context;
  const { ik } = key;
  const other = context.readKey === undefined ? undefined : await otherHolderOf(registry, ik, idI);
  const { fingerprint } = ik;
  await approve?.({ nodes: 1, key: fingerprint, also_held_by: other === undefined ? null : formatId(other) });
  let reset = 0;
  const change = async (): Promise<undefined> => {
    await resetNodes(registry, new Map([[idI, key]]), (_, row) => {
      check(idI, row);
      return true;
    });
    reset = 1;
  };
  try {
    await (output === undefined ? change() : output.write([manifestLine({ idI, controller }, key)], change));
  } catch (error) {
    throw keysLost(reset, 1, error);
  }
  return {
    nodes: 1,
    passed_over: 0,
    drawn: output !== undefined,
    split: splitting !== undefined,
    // A caller with limits gets no fingerprints, and a diagnosis without them.
    key: visibleOrders === undefined ? fingerprint : null,
    diagnosis: await remainingObstacle(context, idI),
  };
}

/** Diagnoses the node by the registry, whether or not a server is running. */
async function remainingObstacle({ registry, clock, visibleOrders }: Context, idI: number): Promise<Diagnosis> {
  const now = clock();
  const surroundings = await surroundingsOf(registry, await readFolderLock(registry.folder), now, { visibleOrders });
  const server = { ...surroundings.server, runs: true, seenAt: now.wallMs };
  return diagnoseNode(registry, idI, { ...surroundings, server, heldUntil: undefined });
}

/**
 * Adds to a failure how many nodes have an initial key that no manifest has, because the output
 * failed or a later part did.
 */
export function keysLost(reset: number, nodes: number, error: unknown): unknown {
  if (reset === 0 || !(error instanceof Failure)) return error;
  const done =
    nodes === 1
      ? 'the node was reset, and no manifest has its new initial key'
      : `${reset} of ${nodes} nodes were reset, and no manifest has their new initial keys`;
  return new PartlyDone(done, error, 'Run the command again: it generates initial keys anew.');
}

interface ResetAllTerms extends ResetTerms {
  /** Skips a node that has joined since it was selected. */
  readonly onlyInitial: boolean;
  /** Skips a node that got another initial key since. */
  readonly holding: string | undefined;
}

/**
 * Generates an initial key for each node. A caller that is interrupted runs it again, and new keys
 * are generated.
 */
async function resetAll(
  context: ResetContext,
  ids: readonly number[],
  { splitting, check, onlyInitial, holding }: ResetAllTerms,
): Promise<NodeReset> {
  const { registry, approve, openOutput, afterPart } = context;
  const done = { nodes: ids.length, passed_over: 0, drawn: true, split: splitting !== undefined, key: null, diagnosis: null };
  if (ids.length === 0) return done;
  if (openOutput === undefined)
    throw new UsageFailure(`${pluralize(ids.length, 'node')} are to get an initial key each, and --out is missing`, {
      advice: 'Name a folder for their manifest with --out, or reset them one by one.',
    });
  const lines: ManifestLine[] = [];
  const keys = new Map<number, InitialKey>();
  try {
    for await (const node of nodesToReset(registry, ids)) {
      const key = combine(node.idI, generateKey(), splitting);
      keys.set(node.idI, key);
      lines.push(manifestLine(node, key));
    }
    const output = await openOutput(lines.length);
    await approve?.({ nodes: ids.length, key: null, also_held_by: null });
    const changed: ManifestLine[] = [];
    const isReset = (idI: number, row: NodeRow): boolean => {
      // Its device has traded in the initial key: another one would lock it out.
      if (onlyInitial && !row.initial) return false;
      // Its new initial key is with an installer by now.
      if (holding !== undefined && fingerprintOf(row) !== holding) return false;
      check(idI, row);
      return true;
    };
    const change = async (progress: (done: number) => void): Promise<void> => {
      let count = 0;
      for (const part of chunksOf(lines, NODES_PER_TRANSACTION)) {
        const reset = await resetNodes(registry, new Map(part.map(({ idI }) => [idI, keys.get(idI)!])), isReset);
        for (const line of part) if (reset.has(line.idI)) changed.push(line);
        count += part.length;
        progress(count);
        await afterPart?.(count, lines.length);
      }
    };
    try {
      await output.write(lines, async () => {
        await withProgress(context, 'resetting', lines.length, change);
        if (changed.length === 0)
          throw new UsageFailure(
            `all nodes that were to be reset joined meanwhile${holding === undefined ? '' : ', or got another key'}`,
            { advice: 'Nothing was changed.' },
          );
        return changed.length === lines.length ? undefined : changed;
      });
    } catch (error) {
      throw keysLost(changed.length, lines.length, error);
    }
    return { ...done, nodes: changed.length, passed_over: lines.length - changed.length };
  } finally {
    for (const key of keys.values()) wipeKey(key);
  }
}

/**
 * Returns the initial key for the reset, or the installer's half of it: the named one, a new one,
 * or the one that other nodes still hold.
 */
async function findKey(
  { registry, readKey, openOutput, readDeviceKeys }: ResetContext,
  idI: number,
): Promise<{ readonly given: Secret; readonly output?: KeyOutput }> {
  if (readKey !== undefined) return { given: await readKey(idI) };
  if (openOutput !== undefined) {
    const output = await openOutput(1);
    return { given: generateKey(), output };
  }
  if (readDeviceKeys !== undefined) {
    throw new UsageFailure("the installer's half is missing", {
      advice: 'Nothing was changed. Have another one drawn with --out, or name it with --manifest or --ik-file.',
    });
  }
  const held = await findHeldInitialKey(registry, idI);
  if (held !== undefined) return { given: held };
  const id = formatId(idI);
  throw new UsageFailure(
    `the initial key of node ${id} is not in the registry any more: it was erased when the node traded it in`,
    {
      advice: 'Name it with --manifest or --ik-file, or give the node another, with which the device is installed again:',
      run: [['latchkey-auth-server', 'node', 'reset', id, '--out', freeName(`./reset-${id}`)]],
    },
  );
}
