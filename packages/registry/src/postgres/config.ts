/** How the registry's database is reached. Passwords come from files only. */

import type { Endpoint } from '@latchkey/runtime/net';
import type { Log } from '@latchkey/runtime/daemon';

/** A host of the database: HOST:PORT over TCP, or the folder of a Unix socket and its port. */
export type PostgresHost = Endpoint | { readonly socketFolder: string; readonly port: number };

/** Files in PEM. */
export interface PostgresTls {
  /** Who signs the certificates of the hosts. */
  readonly ca: string;
  /** What this client shows, in place of a password or in addition to one. */
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Which failure an acknowledged write survives. `standby`: the loss of a machine, because a
 * synchronous standby has the write. `storage`: the operator of the database guarantees that writes
 * survive a failover below PostgreSQL, and standbys are not checked.
 */
export type Durability = 'standby' | 'storage';

export interface PostgresConfig {
  /** All of one cluster. At least one. */
  readonly hosts: readonly PostgresHost[];
  readonly database: string;
  readonly user: string;
  /** A file with the password on its first line. */
  readonly passwordFile?: string;
  /** The certificate of a host must name it. May be left out on loopback and Unix sockets only. */
  readonly tls?: PostgresTls;
  /** By itself `standby`. */
  readonly durability?: Durability;
  /**
   * Multiplies every limit of time: for tests, whose machine may be busier than any that serves.
   */
  readonly patience?: number;
}

/** Which server this is, where one serves: others see it, and it keeps the registry's clock. */
export interface ServerIdentity {
  readonly name: string;
  readonly version: string;
}

export interface PostgresOptions {
  /**
   * Folder of this server or command. It keeps which registry it saw, and the latest entry of the
   * audit log, so that a database that lost entries is noticed.
   */
  readonly folder: string;
  readonly log: Log;
  /** Unset: a command, which has no heartbeat. */
  readonly serve?: ServerIdentity;
}

/** By itself PostgreSQL's own. */
export const DEFAULT_PORT = 5432;
