/**
 * Serves the keys of a source on unix sockets, to the processes that may have them
 * (docs/OPERATIONS.md, "Keys for other programs").
 */

import { chmod, chown } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { RateLimitedLog, type Log } from '@latchkey/runtime/daemon';
import { Failure, systemCode, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import {
  findGroupId,
  hasIdentityIdMaps,
  openPeerCredentials,
  type PeerCredentials,
  removeStaleSocket,
} from '@latchkey/runtime/net';
import { LabelledCounter, type Metric } from '@latchkey/runtime/telemetry';
import { type AccessRules, ConnectionLimits, mayConnect } from './access.js';
import { ChangeLog } from './change-log.js';
import type { KeySocketSettings } from './config.js';
import { ExpiryWatch } from './expiry-watch.js';
import { closeWithError, KeyConnection, LOOKUP_RESULTS, type LookupResult } from './key-connection.js';
import type { KeySource } from './key-source.js';

/** How often it is checked whether keys have expired, in ms. */
const EXPIRY_INTERVAL_MS = 1_000;
const OWNER_ONLY = 0o600;
/**
 * Refused connections that get a message at the same time. Further ones are closed without a
 * message.
 */
const MAX_REFUSING = 64;

/** For so long a user's use of a socket is noted once, in ms. */
const NOTED_FOR_MS = 86_400_000;
/** Users and sockets of which that is remembered; at the bound all are noted again. */
const MAX_NOTED = 1_024;

type RefusedConnection = 'not-allowed' | 'too-many';

export interface KeyServerOptions {
  readonly source: KeySource;
  readonly log: Log;
  /** ms since the epoch. */
  readonly now?: () => number;
  readonly changes?: ChangeLog;
  readonly limits?: ConnectionLimits;
  /**
   * Called before a user gets keys from a socket for the first time within a day; the connection
   * waits for it. Rejects with a Failure if that cannot be noted: then it gets none.
   */
  readonly onFirstUse?: ((use: FirstUse) => Promise<void>) | undefined;
}

export interface FirstUse {
  readonly socket: string;
  readonly uid: number;
  readonly labels: readonly string[];
}

interface Listener {
  readonly path: string;
  readonly labels: readonly string[] | 'any';
  readonly access: AccessRules;
}

export class KeyServer {
  readonly #source: KeySource;
  readonly #log: RateLimitedLog;
  readonly #now: () => number;
  readonly #changes: ChangeLog;
  readonly #limits: ConnectionLimits;
  readonly #readPeer: (socket: Socket) => PeerCredentials | undefined;
  readonly #servers = new Map<string, Server>();
  readonly #connections = new Map<KeyConnection, Socket>();
  readonly #expiryWatch = new ExpiryWatch();
  readonly #onFirstUse: KeyServerOptions['onFirstUse'];
  /** Until when each use is noted, by socket and uid, in ms since the epoch. */
  readonly #noted = new Map<string, number>();
  /** Connections whose use is being noted. */
  readonly #waiting = new Set<Socket>();
  readonly #expiryTimer: NodeJS.Timeout;
  readonly #stopListening: () => void;
  readonly #lookups = new LabelledCounter<LookupResult>(LOOKUP_RESULTS);
  readonly #refused = new LabelledCounter<RefusedConnection>(['not-allowed', 'too-many']);
  /** Refused connections that are getting a message. */
  #refusing = 0;
  #isSourceComplete: boolean;
  #resyncs = 0;

  /** @throws Failure if this machine cannot identify the user of a connection */
  constructor({
    source,
    log,
    now = Date.now,
    changes = new ChangeLog(),
    limits = new ConnectionLimits(),
    onFirstUse,
  }: KeyServerOptions) {
    this.#readPeer = openPeerCredentials();
    this.#source = source;
    this.#log = new RateLimitedLog(log);
    this.#now = now;
    this.#changes = changes;
    this.#limits = limits;
    this.#onFirstUse = onFirstUse;
    this.#isSourceComplete = source.completed === undefined;
    void source.completed?.().then(() => this.#noteComplete());
    this.#stopListening = source.onChange((idI) => {
      this.#expiryWatch.forget(idI);
      this.#recordChange(idI);
    });
    this.#expiryTimer = setInterval(() => this.expire(), EXPIRY_INTERVAL_MS).unref();
  }

  /** Serves the labels of `settings`. @throws Failure that names the setting */
  async listen({ socket: path, mode, group, labels }: KeySocketSettings): Promise<void> {
    const isMapped = !hasIdentityIdMaps();
    if (group !== undefined && isMapped) {
      throw new UsageFailure(`keys: the group ${group} means nothing in this user namespace, which maps IDs`, {
        advice: `Set PrivateUsers=no in a drop-in of the unit, run the container without a user namespace, or leave out \`group:\` of ${path}: then only this user may connect.`,
      });
    }
    const gid = group === undefined ? ownGroup() : groupId(group, path);
    await this.#open({ path, labels, access: accessRules(mode === OWNER_ONLY ? undefined : gid, !isMapped) }, async () => {
      // The file is the owner's only until here, by the umask of every command.
      if (gid !== ownGroup())
        await chown(path, -1, gid).catch((error: unknown) => Promise.reject(chownFailure(path, gid, error)));
      await chmod(path, mode);
    });
  }

  /** Serves every label to this process's own user and root: for commands on the state folder. */
  listenForOwner(path: string): Promise<void> {
    return this.#open({ path, labels: 'any', access: accessRules(undefined, hasIdentityIdMaps()) }, () =>
      chmod(path, OWNER_ONLY),
    );
  }

  get isOpen(): boolean {
    return [...this.#servers.values()].every((server) => server.listening);
  }

  /** Tells subscribers of each node whose key has expired by now, or is good again. */
  expire(): void {
    for (const idI of this.#expiryWatch.due(this.#now())) this.#recordChange(idI);
  }

  get metrics(): readonly Metric[] {
    return [
      {
        type: 'gauge',
        name: 'latchkey_key_connections',
        help: 'Connections to the key sockets',
        read: () => this.#limits.all,
      },
      {
        type: 'gauge',
        name: 'latchkey_key_subscriber_lag',
        help: 'Changes that the slowest subscriber has not acknowledged',
        read: () => Math.max(0, ...[...this.#connections.keys()].map(({ unacknowledged = 0 }) => unacknowledged)),
      },
      {
        type: 'counter',
        name: 'latchkey_key_lookups_total',
        help: 'Look-ups through the key sockets by result',
        labels: ['result'],
        read: () => [...this.#lookups].map(([result, value]) => ({ labels: { result }, value })),
      },
      {
        type: 'counter',
        name: 'latchkey_key_refusals_total',
        help: 'Connections to the key sockets that were refused',
        labels: ['reason'],
        read: () => [...this.#refused].map(([reason, value]) => ({ labels: { reason }, value })),
      },
      {
        type: 'counter',
        name: 'latchkey_key_resyncs_total',
        help: 'Snapshots sent anew to subscribers that were too far behind',
        read: () => this.#resyncs,
      },
    ];
  }

  /** Closes the sockets and all connections. */
  async close(): Promise<void> {
    clearInterval(this.#expiryTimer);
    this.#stopListening();
    const closed = [...this.#servers.values()].map((server) => new Promise((resolve) => void server.close(resolve)));
    for (const socket of [...this.#connections.values(), ...this.#waiting]) socket.destroy();
    await Promise.all(closed);
  }

  async #open(listener: Listener, admit: () => Promise<void>): Promise<void> {
    const { path } = listener;
    const toFailure = (error: unknown): Failure => socketFailure(path, error);
    await removeStaleSocket(path, toFailure);
    const server = createServer((socket) => this.#accept(socket, listener));
    // Such as no file descriptor for a connection: the client connects again.
    const faults = (error: Error): void =>
      this.#log.warn('accept', { error: systemCode(error) ?? error.message }, 'a connection to a key socket could not be taken');
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, () => {
          server.off('error', reject).on('error', faults);
          resolve();
        });
      });
      await admit();
    } catch (error) {
      server.close();
      throw toFailure(error);
    }
    this.#servers.set(path, server);
  }

  #accept(socket: Socket, { path, labels, access }: Listener): void {
    const peer = this.#readPeer(socket);
    if (peer === undefined || !mayConnect(peer, access)) return this.#refuse(socket, path, peer, 'not-allowed');
    if (!this.#limits.admit(peer.uid)) return this.#refuse(socket, path, peer, 'too-many');
    socket.once('close', () => this.#limits.release(peer.uid));
    const use = { socket: path, uid: peer.uid };
    if (labels === 'any' || this.#isNoted(use)) this.#serve(socket, labels);
    else void this.#serveOnceNoted(socket, { ...use, labels });
  }

  /** Nothing is read, and so nothing answered, before the use is noted. */
  async #serveOnceNoted(socket: Socket, use: FirstUse): Promise<void> {
    socket.pause();
    socket.on('error', () => socket.destroy());
    this.#waiting.add(socket);
    socket.once('close', () => this.#waiting.delete(socket));
    try {
      await this.#onFirstUse?.(use);
    } catch (error) {
      this.#log.error(
        'first use',
        { socket: use.socket, uid: use.uid, error: messageOf(error) },
        'a use of keys cannot be noted',
      );
      return closeWithError(socket, 'unavailable', 'the use of the keys cannot be noted now');
    }
    if (this.#noted.size >= MAX_NOTED) this.#noted.clear();
    this.#noted.set(useKey(use), this.#now() + NOTED_FOR_MS);
    this.#waiting.delete(socket);
    if (socket.destroyed) return;
    this.#serve(socket, use.labels);
    socket.resume();
  }

  #isNoted(use: Pick<FirstUse, 'socket' | 'uid'>): boolean {
    return this.#onFirstUse === undefined || (this.#noted.get(useKey(use)) ?? 0) > this.#now();
  }

  #serve(socket: Socket, labels: Listener['labels']): void {
    const connection = new KeyConnection({
      socket,
      labels,
      source: this.#source,
      changes: this.#changes,
      isComplete: () => this.#isSourceComplete,
      now: this.#now,
      lookups: this.#lookups,
      onSent: (keys) => this.#expiryWatch.note(keys, this.#now()),
      onResync: () => (this.#resyncs += 1),
      onFault: (error) => this.#log.error('source', { error: messageOf(error) }, 'keys cannot be read for a key socket'),
    });
    this.#connections.set(connection, socket);
    socket.once('close', () => this.#connections.delete(connection));
  }

  #refuse(socket: Socket, path: string, peer: PeerCredentials | undefined, reason: RefusedConnection): void {
    this.#refused.increment(reason);
    this.#log.warn('refused', { socket: path, uid: peer?.uid, reason }, 'a connection to a key socket was refused');
    socket.on('error', () => socket.destroy());
    if (this.#refusing >= MAX_REFUSING) return void socket.destroy();
    this.#refusing += 1;
    socket.once('close', () => (this.#refusing -= 1));
    closeWithError(
      socket,
      reason,
      reason === 'too-many' ? 'too many connections' : 'this user may not have keys from this socket',
    );
  }

  /** Notifies subscribers that wait for the end of their snapshot. */
  #noteComplete(): void {
    this.#isSourceComplete = true;
    for (const connection of this.#connections.keys()) connection.sendChanges();
  }

  #recordChange(idI: number): void {
    this.#changes.append(idI);
    for (const connection of this.#connections.keys()) connection.sendChanges();
  }
}

function useKey({ uid, socket }: Pick<FirstUse, 'socket' | 'uid'>): string {
  return `${uid} ${socket}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function accessRules(gid: number | undefined, isIdentity: boolean): AccessRules {
  return { ownUid: process.geteuid?.() ?? -1, gid, hasIdentityIdMaps: isIdentity };
}

function ownGroup(): number {
  return process.getegid?.() ?? -1;
}

function groupId(group: string | number, path: string): number {
  const gid = typeof group === 'number' ? group : findGroupId(group);
  if (gid !== undefined) return gid;
  throw new UsageFailure(`keys: this machine has no group ${group}, which is to have ${path}`, {
    advice: 'Check the name: `group:` below `keys:` of the configuration. How a group is made:',
    run: [['groupadd', '--system', String(group)]],
  });
}

function chownFailure(path: string, gid: number, error: unknown): Failure {
  const { message, advice } = systemFailure(`cannot give ${path} to the group ${gid}`, error);
  return new Failure(message, {
    advice:
      systemCode(error) === 'EPERM'
        ? 'The daemon must be in that group: SupplementaryGroups= and SystemCallFilter=@chown in a drop-in of the unit.'
        : (advice ?? 'Check `group:` below `keys:` of the configuration.'),
    cause: error,
  });
}

function socketFailure(path: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const { message, advice } = systemFailure(`cannot serve keys on ${path}`, error);
  return new Failure(message, {
    advice:
      systemCode(error) === 'EADDRINUSE'
        ? 'Stop it, or choose another with `socket:` below `keys:` of the configuration.'
        : (advice ?? 'Check `socket:` below `keys:` of the configuration.'),
    cause: error,
  });
}
