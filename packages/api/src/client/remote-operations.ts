/**
 * Operations on a registry elsewhere, by its API. Most are a route of the same name with the same
 * input and output. Those whose resource has another shape are translated here.
 */

import {
  auditHead,
  auditList,
  type Context,
  controllersAdd,
  controllersList,
  controllersRemove,
  controllersRotate,
  importsRun,
  installersList,
  nodesDiagnose,
  nodesDisable,
  nodesEnable,
  nodesExport,
  nodesExportWithKeys,
  nodesList,
  nodesMove,
  nodesRemove,
  nodesReset,
  nodesSet,
  type Operation,
  ordersClose,
  ordersCreate,
  ordersExport,
  ordersExposure,
  ordersLabels,
  ordersList,
  ordersOpen,
  ordersResume,
  ordersSet,
  ordersSuspend,
  parseInput,
  waitingDismiss,
  waitingList,
} from '@latchkey/operations';
import type { AgeKeyPair } from '@latchkey/provisioning';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { readVersion } from '@latchkey/runtime/telemetry';
import { ApiConnection, type ConnectionOptions } from './connection.js';
import { importNodes } from './remote-imports.js';
import {
  addController,
  createOrder,
  exportNodesWithKeys,
  exportOrder,
  resetNodes,
  rotateController,
  showOrder,
  writeLabels,
} from './remote-keys.js';
import { changeNodes, dismissWaiting, exportNodes, listAudit, listWaiting, NodePages, setNodes } from './remote-nodes.js';
import { hasRoute, RouteCaller } from './route-caller.js';
import type { RouteInput } from './route-request.js';

/**
 * Context that a command adds to the input of an operation: how to confirm, and where to put files.
 */
export type Extras<C extends Context> = Omit<C, keyof Context> & Pick<Context, 'progress'>;

type Translation = (api: RouteCaller, input: never, extras: never) => Promise<unknown>;

/** Ties a translation to the types of its operation. */
function translate<I, O, C extends Context>(
  operation: Operation<I, O, C>,
  send: (api: RouteCaller, input: I, extras: Extras<C>) => Promise<unknown>,
): readonly [name: string, translation: Translation] {
  return [operation.name, send];
}

function translations(): ReadonlyMap<string, Translation> {
  const nodePages = new NodePages();
  return new Map([
    translate(nodesList, (api, input) => nodePages.list(api, input)),
    translate(nodesDiagnose, (api, input) => api.fetch('diagnoses.show', { ...input })),
    translate(nodesDisable, (api, { select }, extras) => changeNodes(api, select, { kind: 'disable' }, extras)),
    translate(nodesEnable, (api, { select }, extras) => changeNodes(api, select, { kind: 'enable' }, extras)),
    translate(nodesRemove, (api, { select }, extras) => changeNodes(api, select, { kind: 'remove' }, extras)),
    translate(nodesMove, (api, { select, to }, extras) => changeNodes(api, select, { kind: 'move', to }, extras)),
    translate(nodesSet, setNodes),
    translate(nodesReset, resetNodes),
    translate(nodesExport, exportNodes),
    translate(nodesExportWithKeys, exportNodesWithKeys),
    translate(importsRun, importNodes),
    translate(waitingList, listWaiting),
    translate(waitingDismiss, dismissWaiting),
    translate(auditList, listAudit),
    translate(auditHead, (api) => api.fetch('audit.head', {})),
    translate(controllersList, async (api) => ({ items: await api.all('controllers.list', {}) })),
    translate(controllersAdd, addController),
    translate(controllersRotate, rotateController),
    translate(controllersRemove, async (api, input, { approve }) => {
      // Fails before the question if the controller does not exist.
      await api.fetch('controllers.show', { ...input });
      await approve?.(input);
      return api.fetch('controllers.remove', { ...input });
    }),
    translate(installersList, async (api, { name }) => ({ items: await api.all(installersList.name, { name }) })),
    translate(ordersList, async (api) => ({ items: await api.all('orders.list', {}) })),
    translate(ordersExposure, async (api, { order }) => {
      const now = { max_age_seconds: 0 };
      return {
        items: await (order === undefined ? api.all('exposure.list', now) : api.all('orders.exposure', { order, ...now })),
      };
    }),
    // Without a bound the window is open on that side, and is not left as it is.
    translate(ordersOpen, (api, { order, join_from: from = null, join_until: until = null }) =>
      api.fetch('orders.change', { order, join_from: from, join_until: until }),
    ),
    translate(ordersSuspend, (api, { order }) => api.fetch('orders.change', { order, state: 'suspended' })),
    translate(ordersResume, (api, { order }) => api.fetch('orders.change', { order, state: 'open' })),
    translate(ordersClose, async (api, { order }, { approve }) => {
      const { nodes, joined } = await showOrder(api, order);
      await approve?.({ remaining: nodes - joined });
      return api.fetch('orders.change', { order, state: 'closed' });
    }),
    translate(ordersSet, (api, input) => api.fetch('orders.change', { ...input })),
    translate(ordersCreate, createOrder),
    translate(ordersExport, exportOrder),
    translate(ordersLabels, writeLabels),
  ]);
}

export class RemoteOperations {
  readonly #connection: ApiConnection;
  readonly #api: RouteCaller;
  readonly #ownVersion: string = readVersion().version;
  readonly #translations = translations();

  /** @param options `keyPair` opens files with keys; without it, one is made for each file */
  constructor({ keyPair, ...options }: Omit<ConnectionOptions, 'userAgent'> & { readonly keyPair?: AgeKeyPair | undefined }) {
    this.#connection = new ApiConnection({ ...options, userAgent: `latchkey-auth-server/${this.#ownVersion}` });
    this.#api = new RouteCaller(this.#connection, this.#ownVersion, keyPair);
  }

  /** As `call` does on a registry that is open. */
  async call<I, O, C extends Context>(operation: Operation<I, O, C>, extras: Extras<C>, input: I): Promise<O> {
    const parsed = parseInput(operation, input);
    const translation = this.#translations.get(operation.name);
    if (translation === undefined && !hasRoute(operation.name))
      throw new UsageFailure(`${operation.name} does not go over the API`, {
        advice: 'Run the command on the machine of the registry, with --data.',
      });
    const answer = await (translation === undefined
      ? this.#api.fetch(operation.name, parsed as RouteInput, extras.progress)
      : translation(this.#api, parsed as never, extras as never));
    // Fields that a newer server adds are stripped. What is there is in the order of the contract.
    const output = operation.output.safeParse(answer);
    if (output.success) return output.data;
    const fields = output.error.issues.map(({ path }) => path.join('.')).join(', ');
    throw new Failure(`${this.#connection.name} answers ${operation.name} otherwise than this program expects: ${fields}`, {
      advice: `This program has version ${this.#ownVersion}. Install the version of the server.`,
    });
  }

  close(): void {
    this.#connection.close();
  }
}
