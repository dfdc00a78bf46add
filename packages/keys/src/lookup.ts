/** One look-up, for stores that ask at each handshake. */

import { KeysError, type KeysErrorCode } from './keys-error.js';
import { idIn, keyIn, type Line, LineConnection, malformed } from './line-connection.js';

export interface NodeKey {
  /** 8 hex digits. */
  readonly id: string;
  /** Names the generation of the node's key: 8 hex digits, not secret. */
  readonly kid: string;
  readonly key: Buffer;
  /** `undefined`: never. */
  readonly notAfter: Date | undefined;
}

export interface LookupOptions {
  readonly socket?: string | undefined;
  /** For the answer, in ms. */
  readonly timeoutMs?: number | undefined;
}

interface Pending {
  readonly resolve: (line: Line) => void;
  readonly reject: (error: KeysError) => void;
}

/** Default key socket of a controller. */
export const DEFAULT_SOCKET = '/run/latchkey/controller/keys.sock';
const DEFAULT_TIMEOUT_MS = 5_000;
/** Look-ups that wait for an answer on one socket. */
const MAX_PENDING = 1_024;

const sessions = new Map<string, LookupSession>();

/**
 * Returns the key of a node for one use.
 *
 * @param identity `ID` for the current key, or `ID@KID` for one generation that is still in use
 * @param label names the use, e.g. `tls-psk`
 * @throws KeysError with the reason if no key is available
 */
export async function lookup(identity: string, label: string, options: LookupOptions = {}): Promise<NodeKey> {
  const { socket = DEFAULT_SOCKET, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const line = await ask(socket, { get: identity, label }, timeoutMs);
  // A key of another node would be worse than none.
  if (line['get'] !== identity) throw malformed();
  if (typeof line['error'] === 'string')
    throw new KeysError(line['error'] as KeysErrorCode, `no key of ${identity} for ${label}: ${line['error']}`);
  return {
    id: idIn(line['id']),
    kid: idIn(line['kid']),
    key: keyIn(line['key']),
    notAfter: typeof line['not_after'] === 'string' ? new Date(line['not_after']) : undefined,
  };
}

async function ask(socket: string, request: Line, timeoutMs: number): Promise<Line> {
  const before = sessions.get(socket);
  try {
    return await (before ?? openSession(socket)).ask(request, timeoutMs);
  } catch (error) {
    // The daemon may have been restarted since the last look-up.
    if (before === undefined || !(error instanceof KeysError) || error.code !== 'disconnected') throw error;
    return (sessions.get(socket) ?? openSession(socket)).ask(request, timeoutMs);
  }
}

function openSession(socket: string): LookupSession {
  const session = new LookupSession(socket, () => sessions.delete(socket));
  sessions.set(socket, session);
  return session;
}

/** A connection that stays open for the next look-up. Answers come in the order of the requests. */
class LookupSession {
  readonly #connection: LineConnection;
  readonly #pending: Pending[] = [];
  #isOpen = true;

  constructor(socket: string, onEnd: () => void) {
    this.#connection = new LineConnection({
      socket,
      onConnect: () => undefined,
      onLine: (line) => {
        const next = this.#pending.shift();
        if (this.#pending.length === 0) this.#connection.unref();
        next?.resolve(line);
      },
      onEnd: (error) => {
        if (this.#isOpen) onEnd();
        this.#isOpen = false;
        for (const { reject } of this.#pending.splice(0)) reject(error);
      },
    });
  }

  ask(request: Line, timeoutMs: number): Promise<Line> {
    if (this.#pending.length >= MAX_PENDING)
      return Promise.reject(new KeysError('too-many', `${MAX_PENDING} look-ups wait for an answer already`));
    return new Promise((resolve, reject) => {
      // The answer may come later, in place of the next one: so the connection ends with it.
      const timer = setTimeout(
        () => this.#connection.close(new KeysError('timeout', `no answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      const settle =
        <T>(action: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          action(value);
        };
      this.#pending.push({ resolve: settle(resolve), reject: settle(reject) });
      this.#connection.ref();
      this.#connection.send(request);
    });
  }
}
