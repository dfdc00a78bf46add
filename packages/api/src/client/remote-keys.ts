/**
 * Keys of a registry elsewhere. They arrive as an age file, encrypted to recipients that the caller
 * names, or to one that is generated for this call. In the second case the file is decrypted here.
 */

import {
  type CredentialContext,
  type ExportContext,
  type ExportedLine,
  type HandoverContext,
  keysLost,
  noHolder,
  type KeyOutput,
  type LabelContext,
  type LabelLine,
  ManifestNotWritten,
  type OrderCreateContext,
  refuseManyLabels,
  type ResetContext,
} from '@latchkey/operations';
import {
  type ControllerAddInput,
  type ControllerInput,
  controllersAdd,
  controllersRotate,
  exportedNodeSchema,
  type NodeFilter,
  type NodeExport,
  nodesExportWithKeys,
  nodesList,
  type NodeResetInput,
  nodesReset,
  type OrderCreateInput,
  type OrderInput,
  ordersCreate,
  ordersExport,
  ordersShow,
  type OrderView,
} from '@latchkey/operations/contract';
import { formatId, Secret } from '@latchkey/protocol';
import { decryptManifest, generateRecipient, parseCredential, parseManifest } from '@latchkey/provisioning';
import { UsageFailure } from '@latchkey/runtime/failure';
import { z } from 'zod';
import { type RouteCaller, routeNamed } from './route-caller.js';
import type { RouteInput } from './route-request.js';
import { ifUnfinished, withAdvice } from './unfinished.js';

const FILE = 'the file of the server';

interface KeyRequest {
  readonly route: string;
  readonly input: RouteInput;
  readonly recipients: readonly string[];
  /** What is thrown if the job has been done, and its file has not been kept here. */
  readonly ifLost?: ((error: unknown, result: unknown) => unknown) | undefined;
}

/**
 * Hands the file of a job to `keep`; the server forgets it after that. Returns the job's result.
 */
async function receiveFile(
  api: RouteCaller,
  { route, input, recipients, ifLost }: KeyRequest,
  keep: (octets: Uint8Array) => Promise<void>,
): Promise<unknown> {
  const { id, result } = await api.runJob(route, { ...input, recipients });
  try {
    // The memory of an API that has ended since has the file no longer.
    await keep(await api.fetchFile(id));
  } catch (error) {
    throw ifLost === undefined ? withAdvice(error, ifUnfinished(routeNamed(route), { id })) : ifLost(error, result);
  } finally {
    // If the keys could not be saved, a later call gets them in another file. The server removes
    // this file within the hour in any case.
    await api.fetch('jobs.remove-file', { job: id }).catch(() => undefined);
  }
  return result;
}

/**
 * Like `receiveFile`, with the recipient of this program, or one generated for this call. `keep`
 * receives the text of the file.
 */
async function receiveText(
  api: RouteCaller,
  request: Omit<KeyRequest, 'recipients'>,
  keep: (text: string) => Promise<void>,
): Promise<unknown> {
  const { recipient, identity } = api.keyPair ?? (await generateRecipient());
  return receiveFile(api, { ...request, recipients: [recipient] }, async (octets) => {
    const plain = await decryptManifest(octets, FILE, { identities: [identity] });
    try {
      await keep(Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString('utf8'));
    } finally {
      plain.fill(0);
    }
  });
}

/** Writes the manifest of a job to where the caller wants it. */
function receiveManifest(api: RouteCaller, request: Omit<KeyRequest, 'recipients'>, output: KeyOutput): Promise<unknown> {
  const { encrypted } = output;
  if (encrypted === undefined) return receiveText(api, request, (text) => output.write(parseManifest(text, FILE)));
  return receiveFile(api, { ...request, recipients: encrypted.recipients }, (octets) => encrypted.write(octets));
}

/** Decrypted lines of a key file that are in memory at the same time. */
const EXPORT_PAGE = 1_000;

const exportedLineSchema = z.looseObject({ secret_key: z.string() });

export async function exportNodesWithKeys(
  api: RouteCaller,
  filter: NodeFilter,
  { write }: Pick<ExportContext, 'write'>,
): Promise<NodeExport> {
  let count = 0;
  await receiveText(api, { route: nodesExportWithKeys.name, input: { filter } }, async (text) => {
    const lines = text.split('\n').filter((line) => line !== '');
    count = lines.length;
    await write(exportedPages(lines));
  });
  return { count };
}

async function* exportedPages(lines: readonly string[]): AsyncGenerator<readonly ExportedLine[]> {
  for (let from = 0; from < lines.length; from += EXPORT_PAGE) {
    const page = lines.slice(from, from + EXPORT_PAGE).map((line): ExportedLine => {
      const { secret_key: key, ...node } = exportedLineSchema.parse(JSON.parse(line));
      return [exportedNodeSchema.parse(node), Secret.fromHex(key)];
    });
    try {
      yield page;
    } finally {
      for (const [, key] of page) key?.wipe();
    }
  }
}

/** Device keys, and keys of files, do not leave the machine that they are on. */
export function refuseKeysFromHere(readKeys: unknown, what: string): void {
  if (readKeys === undefined) return;
  throw new UsageFailure(`${what} do not go over the API`, {
    advice: 'Nothing was changed. Run the command on the machine of the registry, with --data.',
  });
}

export async function createOrder(
  api: RouteCaller,
  { manufacturer: _, ...input }: OrderCreateInput,
  { openOutput, readDeviceKeys }: Pick<OrderCreateContext, 'openOutput' | 'readDeviceKeys'>,
): Promise<unknown> {
  refuseKeysFromHere(readDeviceKeys, 'device keys');
  if (input.count === undefined && input.controllers === undefined)
    throw new UsageFailure('--count is missing', { advice: 'Nothing was changed. Say how many nodes with --count.' });
  const ifLost = (error: unknown, result: unknown): unknown => {
    const created = ordersCreate.output.safeParse(result).data;
    if (created !== undefined) return new ManifestNotWritten(created.order, error);
    return withAdvice(error, ifUnfinished(routeNamed(ordersCreate.name)));
  };
  return receiveManifest(api, { route: ordersCreate.name, input: { ...input }, ifLost }, await openOutput());
}

export async function showOrder(api: RouteCaller, order: number): Promise<OrderView> {
  return ordersShow.output.parse(await api.fetch(ordersShow.name, { order }));
}

export async function exportOrder(
  api: RouteCaller,
  { order }: OrderInput,
  { openOutput }: Pick<HandoverContext, 'openOutput'>,
): Promise<unknown> {
  // A place that is not free is found before the keys leave, and so is an order that has none.
  await requireRemaining(api, order);
  return receiveManifest(api, { route: ordersExport.name, input: { order } }, await openOutput());
}

/** @throws Failure as the operation does where nothing can be handed over */
async function requireRemaining(api: RouteCaller, number: number): Promise<OrderView> {
  const order = await showOrder(api, number);
  if (order.state === 'closed') throw new UsageFailure(`order ${number} is closed for good`, { advice: 'Order the nodes anew.' });
  if (order.nodes === order.joined)
    throw new UsageFailure(`all nodes of order ${number} have joined`, { advice: 'Nothing was written.' });
  return order;
}

export async function writeLabels(
  api: RouteCaller,
  { order: number }: OrderInput,
  { writeSheet }: Pick<LabelContext, 'writeSheet'>,
): Promise<unknown> {
  const { installer, created_at: createdAt, nodes, joined } = await requireRemaining(api, number);
  refuseManyLabels(number, nodes - joined);
  const described = await api.all('nodes.list', { order: [number], never_joined: true });
  const texts = new Map(nodesList.output.parse({ items: described, next: null }).items.map((node) => [node.id, node]));
  return receiveText(api, { route: ordersExport.name, input: { order: number } }, async (text) => {
    const lines: LabelLine[] = [];
    for (const line of parseManifest(text, FILE)) {
      const { name = null, site = null, location = null } = texts.get(formatId(line.idI)) ?? {};
      lines.push({ ...line, name, site, location });
    }
    await writeSheet(lines, { number, installer, createdAt: Date.parse(createdAt) });
  });
}

export async function resetNodes(
  api: RouteCaller,
  { manufacturer: _, ...input }: NodeResetInput,
  { openOutput, readKey, readDeviceKeys, approve }: Pick<ResetContext, 'openOutput' | 'readKey' | 'readDeviceKeys' | 'approve'>,
): Promise<unknown> {
  refuseKeysFromHere(readDeviceKeys, 'device keys');
  refuseKeysFromHere(readKey, 'initial keys that a file names');
  if (openOutput === undefined)
    throw new UsageFailure('--out is missing', {
      advice: 'Nothing was changed. Over the API a node gets a new initial key: name a folder for its manifest with --out.',
    });
  const nodes = await countOf(api, input);
  if (nodes === 0) return { nodes, passed_over: 0, drawn: true, split: false, key: null, diagnosis: null };
  const output = await openOutput(nodes);
  await approve?.({ nodes, key: null, also_held_by: null });
  const ifLost = (error: unknown, result: unknown): unknown => {
    const reset = nodesReset.output.safeParse(result).data?.nodes ?? 0;
    return keysLost(reset, reset, error);
  };
  return receiveManifest(api, { route: nodesReset.name, input: { ...input }, ifLost }, output);
}

async function countOf(api: RouteCaller, { ids, order, holding }: NodeResetInput): Promise<number> {
  if (order === undefined) return new Set(ids).size;
  const { nodes, joined } = await showOrder(api, order);
  if (holding === undefined) return nodes - joined;
  let count = 0;
  for await (const items of api.pages('nodes.list', { order: [order], never_joined: true }))
    count += items.filter((item) => keySchema.parse(item).key === holding).length;
  if (count === 0) throw noHolder(order, holding);
  return count;
}

/** Of a node that has not joined: the fingerprint of its initial key. */
const keySchema = z.object({ key: z.string().nullable() });

type HandOver = Pick<CredentialContext, 'handOver'>;

export function addController(api: RouteCaller, input: ControllerAddInput, extras: HandOver): Promise<unknown> {
  return receiveCredential(api, controllersAdd.name, { ...input }, extras);
}

export function rotateController(api: RouteCaller, { id }: ControllerInput, extras: HandOver): Promise<unknown> {
  return receiveCredential(api, controllersRotate.name, { id }, extras);
}

/** The registry knows the credential by then. */
function receiveCredential(api: RouteCaller, route: string, input: RouteInput, { handOver }: HandOver): Promise<unknown> {
  return receiveText(api, { route, input }, (text) => handOver(parseCredential(text, FILE), () => Promise.resolve()));
}
