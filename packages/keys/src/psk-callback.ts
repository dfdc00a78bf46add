/** Pre-shared keys for node:tls. */

import { KeysError } from './keys-error.js';
import { type KeyEvent, type NodeKeyEvent, subscribe, type SubscribeOptions } from './subscribe.js';

export interface PskCallbackOptions {
  readonly label: string;
  readonly socket?: string | undefined;
  readonly onDisconnect?: SubscribeOptions['onDisconnect'];
  /**
   * Whether the open connections of a node are closed when it loses its keys (default: true). A
   * renewal closes none.
   */
  readonly closeOnRevoke?: boolean | undefined;
  /**
   * Called with each node that lost its keys: `disabled`, `removed`, `moved`, `reset`, `expired`.
   */
  readonly onRevoke?: ((id: string, reason: string) => void) | undefined;
  /** Called if the daemon refuses this process after the start. All keys are withdrawn then. */
  readonly onError?: ((error: Error) => void) | undefined;
}

/** What is used of the TLSSocket that node:tls calls back with. */
interface TlsConnection {
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** What `pskCallback` of `tls.createServer` takes. */
export interface PskCallback {
  (socket: TlsConnection, identity: string): NodeJS.ArrayBufferView | null;
  /** Ends the subscription and wipes the keys. */
  close(): void;
}

type Node = Pick<NodeKeyEvent, 'kid' | 'keys' | 'notAfter' | 'previous'>;

const ID_DIGITS = 8;
const IDENTITY = /^([0-9a-f]{8})(?:@([0-9a-f]{8}))?$/;

/**
 * Returns the `pskCallback` of a TLS server, once all keys have arrived. The identity is `ID` for
 * the current key, or `ID@KID` for one generation that is still in use. node:tls asks
 * synchronously, so this process caches all keys and follows each change in the registry.
 *
 * @throws KeysError if the daemon refuses the user or the label
 */
export async function pskCallback(options: PskCallbackOptions): Promise<PskCallback> {
  const { label, closeOnRevoke = true, onRevoke, onError, ...rest } = options;
  const subscription = subscribe({ ...rest, labels: [label] });
  const connections = new ConnectionTable();
  const keys = new KeyTable(label, (id, reason) => {
    if (closeOnRevoke) connections.closeAll(id);
    onRevoke?.(id, reason);
  });
  await new Promise<void>((resolve, reject) => {
    const follow = async (): Promise<void> => {
      for await (const event of subscription) {
        keys.apply(event);
        if (event.type === 'synced') resolve();
      }
      reject(new KeysError('closed', 'the subscription was closed'));
    };
    follow().catch((error: unknown) => {
      keys.clear();
      const failure = error instanceof Error ? error : new Error(String(error));
      reject(failure);
      onError?.(failure);
    });
  });
  const callback = (connection: TlsConnection, identity: string): Buffer | null => {
    const key = keys.find(identity, Date.now());
    if (key !== undefined && closeOnRevoke) connections.add(idOf(identity), connection);
    return key ?? null;
  };
  return Object.assign(callback, {
    close() {
      subscription.close();
      keys.clear();
    },
  });
}

function idOf(identity: string): string {
  return identity.slice(0, ID_DIGITS);
}

function isExpired({ notAfter }: Pick<NodeKeyEvent, 'notAfter'>, now: number): boolean {
  return notAfter !== undefined && now > notAfter.getTime();
}

/** The connections of each node, those in the handshake too. */
class ConnectionTable {
  readonly #connections = new Map<string, Set<TlsConnection>>();

  add(id: string, connection: TlsConnection): void {
    const ofNode = this.#connections.get(id) ?? new Set();
    this.#connections.set(id, ofNode.add(connection));
    connection.once('close', () => {
      ofNode.delete(connection);
      if (ofNode.size === 0 && this.#connections.get(id) === ofNode) this.#connections.delete(id);
    });
  }

  closeAll(id: string): void {
    for (const connection of this.#connections.get(id) ?? []) connection.destroy();
  }
}

class KeyTable {
  readonly #label: string;
  readonly #onRevoke: (id: string, reason: string) => void;
  readonly #nodes = new Map<string, Node>();
  /** Nodes that the pending snapshot has listed. All others are removed once it is complete. */
  #listed: Set<string> | undefined;

  constructor(label: string, onRevoke: (id: string, reason: string) => void) {
    this.#label = label;
    this.#onRevoke = onRevoke;
  }

  find(identity: string, now: number): Buffer | undefined {
    const [, id = '', kid] = IDENTITY.exec(identity) ?? [];
    const node = this.#nodes.get(id);
    if (node === undefined || isExpired(node, now)) return undefined;
    if (kid === undefined || kid === node.kid) return node.keys[this.#label];
    const former = node.previous.find((one) => one.kid === kid && now < one.until.getTime() && !isExpired(one, now));
    return former?.keys[this.#label];
  }

  apply(event: KeyEvent): void {
    if (event.type === 'resync') {
      this.#listed = new Set();
    } else if (event.type === 'synced') {
      const listed = this.#listed;
      this.#listed = undefined;
      if (listed === undefined) return;
      for (const id of this.#nodes.keys()) if (!listed.has(id)) this.#revoke(id, 'removed');
    } else if (event.type === 'key') {
      this.#listed?.add(event.id);
      this.#wipe(event.id);
      this.#nodes.set(event.id, event);
    } else {
      this.#revoke(event.id, event.type);
    }
  }

  clear(): void {
    for (const id of this.#nodes.keys()) this.#wipe(id);
    this.#nodes.clear();
  }

  #revoke(id: string, reason: string): void {
    if (!this.#nodes.has(id)) return;
    this.#wipe(id);
    this.#nodes.delete(id);
    this.#onRevoke(id, reason);
  }

  #wipe(id: string): void {
    const node = this.#nodes.get(id);
    for (const { keys } of node === undefined ? [] : [node, ...node.previous]) for (const key of Object.values(keys)) key.fill(0);
  }
}
