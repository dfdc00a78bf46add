/**
 * A route: where an operation is found over HTTP, the scope that it needs, and the schemas of its
 * input and output.
 */

import type { IncomingHttpHeaders } from 'node:http';
import type { InstallerStore, VisibleOrders } from '@latchkey/operations';
import type { ExposureView } from '@latchkey/operations/contract';
import type { FolderLockState } from '@latchkey/runtime/files';
import type { AgeKeyPair } from '@latchkey/provisioning';
import type { Registry } from '@latchkey/registry';
import type { z } from 'zod';
import type { Principal, Scope } from './access.js';
import type { Accepted, RawAnswer } from './answers.js';
import type { AuditExports } from './audit-exports.js';
import type { ConcurrencyLimit } from './concurrency-limit.js';
import type { EventStreams } from './events/event-streams.js';
import type { IdempotentRequests } from './jobs/idempotency.js';
import type { Jobs } from './jobs/jobs.js';
import type { KeyFiles } from './jobs/key-files.js';
import type { KeptResults } from './kept-results.js';
import type { OpaqueValues } from './opaque.js';
import type { RegistryWalks } from './registry-walks.js';
import type { StoredThing, VersionCheck, VersionedThing } from './versions.js';

/** What all requests of one API share. */
export interface RouteServices {
  readonly opaque: OpaqueValues;
  readonly walks: RegistryWalks;
  readonly exposures: KeptResults<ExposureView>;
  readonly events: EventStreams;
  readonly auditExports: AuditExports;
  readonly installers: InstallerStore;
  readonly jobs: Jobs;
  readonly keyFiles: KeyFiles;
  readonly idempotentRequests: IdempotentRequests;
  readonly largeBodies: ConcurrencyLimit;
  /** Opens files that callers send. */
  readonly importKeys: () => Promise<AgeKeyPair>;
  /** Reads whether an auth-server serves the registry. */
  readonly readServerState: () => Promise<FolderLockState>;
}

export interface RouteContext extends RouteServices {
  readonly registry: Registry;
  readonly principal: Principal;
  /** Which orders, and nodes of them, exist for the caller. */
  readonly visibleOrders: VisibleOrders;
  /** Of the request. */
  readonly headers: IncomingHttpHeaders;
  /** By the clock of the servers, which may be a database's: ms since the epoch. */
  readonly now: number;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  /** Of a change of a thing in a store of the API. The route calls it. */
  readonly requireVersion: VersionCheck;
}

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export interface Route {
  /** `GET` unless it says otherwise. */
  readonly method?: Method | undefined;
  /** Thing and verb, `nodes.list` say. */
  readonly name: string;
  readonly summary: string;
  readonly description?: string | undefined;
  /** `own`: for every caller, about the caller's own objects. */
  readonly scope: Scope | 'own';
  /**
   * The route shows and changes only objects of `visibleOrders`. If absent, callers with limits are
   * rejected.
   */
  readonly isLimitable?: true | undefined;
  /** It takes initial keys. Callers whose own keys go to named recipients only are refused. */
  readonly takesKeys?: true | undefined;
  /** As fastify writes it: `/v1/nodes/:id`. */
  readonly path: string;
  /** Names in the path, and query parameters; of PATCH and POST the fields of the body. */
  readonly input: z.ZodObject;
  /**
   * Maximum octets of a body, if larger than the default. Such requests are processed one at a
   * time.
   */
  readonly maxBody?: number | undefined;
  /** Throws a Problem for a caller whose large body is not read. */
  readonly checkCaller?: ((principal: Principal) => void) | undefined;
  /** What is not in it does not leave the API. */
  readonly output: z.ZodType;
  /** The one thing that it shows or changes. A change of that needs If-Match. */
  readonly version?: ((input: never) => VersionedThing | StoredThing) | undefined;
  /** Of a `RawAnswer`, which `output` then describes. */
  readonly mediaType?: 'text/event-stream' | 'application/octet-stream' | 'application/jsonl' | undefined;
  /** Of a POST: whether it needs an Idempotency-Key, under which it happens once. */
  readonly isIdempotent?: ((input: never) => boolean) | undefined;
  /** A job that changes nothing: twice does no harm, and a key that is sent is not remembered. */
  readonly beginsJob?: true | undefined;
  readonly run: (context: RouteContext, input: never) => unknown;
}

type Answer<T> = T | Accepted<T> | RawAnswer;

interface RouteOf<I extends z.ZodObject, O extends z.ZodType> extends Route {
  readonly input: I;
  readonly output: O;
  readonly version?: (input: z.output<I>) => VersionedThing | StoredThing;
  readonly isIdempotent?: (input: z.output<I>) => boolean;
  readonly run: (context: RouteContext, input: z.output<I>) => Answer<z.input<O>> | Promise<Answer<z.input<O>>>;
}

/** Checks the types of a route against its schemas. */
export function defineRoute<I extends z.ZodObject, O extends z.ZodType>(route: RouteOf<I, O>): Route {
  return route;
}
