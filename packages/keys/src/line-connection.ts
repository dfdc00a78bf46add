/** A connection to a key socket, line by line. */

import { connect, type Socket } from 'node:net';
import { KeysError, type KeysErrorCode } from './keys-error.js';

export type Line = Readonly<Record<string, unknown>>;

/** No line of a daemon is longer. A peer that sends one is none. */
const MAX_LINE = 1_048_576;
const NEWLINE = 0x0a;
/** A key has 16 octets or more; a truncated one is invalid. */
const KEY = /^(?:[0-9a-f]{2}){16,255}$/;
const ID = /^[0-9a-f]{8}$/;

export interface LineConnectionOptions {
  readonly socket: string;
  readonly onConnect: () => void;
  /** A KeysError that it throws ends the connection. */
  readonly onLine: (line: Line) => void;
  /** Called once, when the connection could not be made or is over. */
  readonly onEnd: (error: KeysError) => void;
}

export class LineConnection {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #options: LineConnectionOptions;
  #unread: Buffer = Buffer.alloc(0);
  #error: KeysError | undefined;

  constructor(options: LineConnectionOptions) {
    this.#options = options;
    this.#path = options.socket;
    this.#socket = connect(options.socket);
    this.#socket.on('connect', options.onConnect);
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error ??= this.#failure(error);
    });
    this.#socket.on('close', () => {
      this.#unread.fill(0);
      options.onEnd(this.#error ?? new KeysError('disconnected', `the daemon at ${this.#path} closed the connection`));
    });
  }

  send(request: Line): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(request)}\n`);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Lets the process end while the connection is open. */
  unref(): void {
    this.#socket.unref();
  }

  ref(): void {
    this.#socket.ref();
  }

  close(error?: KeysError): void {
    this.#error ??= error;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const octets = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    if (octets !== chunk) this.#wipe(this.#unread, chunk);
    let from = 0;
    for (let end = octets.indexOf(NEWLINE); end !== -1; end = octets.indexOf(NEWLINE, from)) {
      this.#parse(octets.subarray(from, end));
      from = end + 1;
    }
    this.#unread = Buffer.from(octets.subarray(from));
    octets.fill(0);
    if (this.#unread.length > MAX_LINE) this.close(this.#foreign());
  }

  #wipe(...buffers: readonly Buffer[]): void {
    for (const buffer of buffers) buffer.fill(0);
  }

  /** Nothing counts that comes after the end: it would pass for the answer to another request. */
  #parse(octets: Buffer): void {
    if (this.#socket.destroyed) return;
    let line: unknown;
    try {
      line = JSON.parse(octets.toString('utf8'));
    } catch {
      return this.close(this.#foreign());
    }
    if (typeof line !== 'object' || line === null) return this.close(this.#foreign());
    const fields = line as Line;
    if (typeof fields['error'] === 'string' && typeof fields['code'] === 'string') {
      this.#error ??= new KeysError(fields['code'] as KeysErrorCode, `the daemon at ${this.#path} refused: ${fields['error']}`);
      return;
    }
    try {
      this.#options.onLine(fields);
    } catch (error) {
      if (!(error instanceof KeysError)) throw error;
      this.close(error);
    }
  }

  #foreign(): KeysError {
    return new KeysError('disconnected', `what answers at ${this.#path} is not the key socket of a Latchkey daemon`);
  }

  #failure(error: NodeJS.ErrnoException): KeysError {
    const message =
      error.code === 'EACCES'
        ? `this user may not connect to ${this.#path}; it must be in the group of the socket`
        : `cannot reach the daemon at ${this.#path}: ${error.code ?? error.message}`;
    return new KeysError(error.code === 'EACCES' ? 'not-allowed' : 'disconnected', message, { cause: error });
  }
}

/** Returns a key of a line. @throws KeysError if it is none: an empty key would be worse. */
export function keyIn(hex: unknown): Buffer {
  if (typeof hex !== 'string' || !KEY.test(hex)) throw malformed();
  return Buffer.from(hex, 'hex');
}

/**
 * Returns an ID or KID of a line. @throws KeysError if it is none: it may go into a file's name.
 */
export function idIn(text: unknown): string {
  if (typeof text !== 'string' || !ID.test(text)) throw malformed();
  return text;
}

/** A line that no daemon of this version sends. */
export function malformed(): KeysError {
  return new KeysError('disconnected', 'a line of the daemon has another form than this version expects');
}
