/**
 * Requests to an API. The server has proved who it is before the token leaves this process. An
 * answer has a limit in size and time, and a redirect is not followed.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import { Agent, type ClientRequestArgs, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { connect, isIP, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type Advice, Failure, systemCode, systemFailure } from '@latchkey/runtime/failure';
import type { Method } from '../route.js';
import { CLIENT_TIMEOUT_MS } from '../timeouts.js';
import { type ApiTarget, formatTarget } from './target.js';
import { withAdvice } from './unfinished.js';

/** For a connection with its handshake, in ms. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Octets of an answer: a file with the keys of 100,000 nodes has 8 MB. */
const MAX_ANSWER = 64 * 1024 * 1024;
/** Tries of one request. */
const MAX_ATTEMPTS = 5;
/** Before a request is repeated whose connection broke, in ms, times the number of tries. */
const RECONNECT_MS = 500;
/** A server that asks for a longer wait is not waited for, in s. */
const MAX_RETRY_AFTER_S = 30;

interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface ConnectionOptions {
  readonly target: ApiTarget;
  readonly token?: string | undefined;
  /** Authorities that the certificate may be of, in PEM; those of the system without it. */
  readonly ca?: string | undefined;
  /**
   * SHA-256 of the public key that the server must have. Without `ca` its certificate may be of any
   * authority.
   */
  readonly pin?: Uint8Array | undefined;
  /** PEM, of this client: for a server that asks for a certificate. */
  readonly clientCertificate?: ClientCertificate | undefined;
  readonly userAgent: string;
}

export interface ApiRequest {
  readonly method: Method;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** It may be sent again though it may have been done. */
  readonly isRepeatable: boolean;
  /**
   * Advice if the request may have been executed, and no answer confirms it. Absent for requests
   * that change nothing.
   */
  readonly ifUnanswered?: Advice | undefined;
}

/** Nothing of the request has left this process. */
class NotSent extends Failure {}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly octets: Buffer;
}

export class ApiConnection {
  readonly #options: ConnectionOptions;
  readonly #agent: Agent;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#agent = new VerifyingAgent(options);
  }

  get name(): string {
    return formatTarget(this.#options.target);
  }

  /**
   * Sends a request, and retries it if a repetition has no second effect.
   *
   * @throws Failure if no answer arrives
   */
  async send(sent: ApiRequest): Promise<ApiAnswer> {
    let wasSent = false;
    for (let attempt = 1; ; attempt++) {
      let answer: ApiAnswer | undefined;
      try {
        answer = await this.#sendOnce(sent);
      } catch (error) {
        wasSent ||= !(error instanceof NotSent);
        if (error instanceof Failure || !sent.isRepeatable || attempt === MAX_ATTEMPTS)
          throw this.#noAnswer(error, wasSent ? sent.ifUnanswered : undefined);
      }
      const wait = answer === undefined ? RECONNECT_MS * attempt : retryWait(answer, sent);
      if (answer !== undefined && (wait === undefined || attempt === MAX_ATTEMPTS)) return answer;
      await pause(wait);
    }
  }

  #noAnswer(error: unknown, ifUnanswered: Advice | undefined): Failure {
    const failure = this.#closed(error) ?? systemFailure(`${this.name} does not answer`, error);
    return ifUnanswered === undefined ? failure : withAdvice(failure, ifUnanswered);
  }

  /** A server may close a connection because of its certificate, and not say so. */
  #closed(error: unknown): Failure | undefined {
    if (this.#options.target.kind !== 'https' || !CLOSED.has(systemCode(error) ?? '')) return undefined;
    return new Failure(`${this.name} has closed the connection without an answer`, { advice: NAME_CERTIFICATE, cause: error });
  }

  #sendOnce({ method, path, headers, body }: ApiRequest): Promise<ApiAnswer> {
    const { target, token, userAgent } = this.#options;
    const options: ClientRequestArgs = {
      agent: this.#agent,
      method,
      path,
      headers: {
        ...headers,
        host: target.kind === 'https' ? target.host : 'api',
        'user-agent': userAgent,
        accept: '*/*',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
      },
      timeout: CLIENT_TIMEOUT_MS,
    };
    return new Promise((resolve, reject) => {
      const outgoing = request(options, (answer) => void this.#read(answer).then(resolve, reject));
      outgoing.on('timeout', () => outgoing.destroy(new Failure(`${this.name} did not answer in ${CLIENT_TIMEOUT_MS / 1000} s`)));
      outgoing.on('error', (error) => reject(certificateFailure(this.name, error) ?? error));
      outgoing.end(body);
    });
  }

  async #read(answer: IncomingMessage): Promise<ApiAnswer> {
    const { statusCode: status = 0, headers } = answer;
    if (status >= 300 && status < 400)
      throw new Failure(`${this.name} answers with a redirect, which is not followed`, {
        advice: 'Name the server that has the API.',
      });
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of answer) {
      length += (part as Buffer).length;
      if (length > MAX_ANSWER) {
        answer.destroy();
        throw new Failure(`${this.name} answers with more than ${MAX_ANSWER / 1024 / 1024} MiB`, {
          advice: 'Ask for less at once, with a filter.',
        });
      }
      parts.push(part as Buffer);
    }
    return { status, headers, octets: Buffer.concat(parts) };
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Returns how long to wait before the request is repeated, in ms, or `undefined` if it is not. */
function retryWait({ status, headers }: ApiAnswer, { isRepeatable }: ApiRequest): number | undefined {
  const seconds = Number(headers['retry-after']);
  if (status < 400 || !Number.isInteger(seconds) || seconds < 0 || seconds > MAX_RETRY_AFTER_S) return undefined;
  // 429: nothing was done.
  return status === 429 || isRepeatable ? 1000 * seconds : undefined;
}

type Opened = (error: Error | null, socket: Socket) => void;

/** Returns connections only after verifying that the server is the intended one. */
class VerifyingAgent extends Agent {
  readonly #options: ConnectionOptions;

  constructor(options: ConnectionOptions) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#options = options;
  }

  override createConnection(_: ClientRequestArgs, opened?: Opened): undefined {
    openVerified(this.#options, opened ?? ((): void => undefined));
  }
}

function openVerified(options: ConnectionOptions, opened: Opened): void {
  const { target, pin } = options;
  const name = formatTarget(target);
  const socket = target.kind === 'unix' ? connect(target.path) : openTls(target, options);
  const timer = setTimeout(
    () => socket.destroy(new NotSent(`${name} did not answer in ${CONNECT_TIMEOUT_MS / 1000} s`)),
    CONNECT_TIMEOUT_MS,
  );
  const fail = (error: Error): void => {
    clearTimeout(timer);
    opened(connectFailure(target, error), socket);
  };
  socket.once('error', fail);
  socket.once(target.kind === 'unix' ? 'connect' : 'secureConnect', () => {
    if (pin !== undefined && target.kind === 'https' && !hasKey(socket as TLSSocket, pin)) {
      socket.destroy(
        new NotSent(`${name} has another key than --pin says`, {
          advice: 'Nothing was sent. Ask who runs the server whether its key was replaced; if not, somebody is in between.',
        }),
      );
      return;
    }
    clearTimeout(timer);
    socket.off('error', fail);
    opened(null, socket);
  });
}

function openTls(
  { hostname, port }: ApiTarget & { readonly kind: 'https' },
  { ca, pin, clientCertificate }: ConnectionOptions,
): TLSSocket {
  return connectTls({
    host: hostname,
    port,
    // An address is no name of a server.
    ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...clientCertificate,
    minVersion: 'TLSv1.3',
    // The pin takes the place of an authority, unless one is named.
    rejectUnauthorized: pin === undefined || ca !== undefined,
  });
}

function hasKey(socket: TLSSocket, pin: Uint8Array): boolean {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return false;
  const key = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return timingSafeEqual(createHash('sha256').update(key).digest(), pin);
}

const CLOSED: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);
/** An alert about the certificate of this client. */
const CERTIFICATE_ALERT = /^ERR_SSL_\w+_ALERT_(?:\w*CERTIFICATE\w*|UNKNOWN_CA)$/;
const NAME_CERTIFICATE =
  'If the server asks for client certificates (`client_ca:`), name one of its authority with --client-cert and --client-key.';

/** The server has refused this client in the handshake, and says so after the request. */
function certificateFailure(name: string, error: Error): NotSent | undefined {
  if (!CERTIFICATE_ALERT.test(systemCode(error) ?? '')) return undefined;
  return new NotSent(`${name} does not take the certificate of this client, or misses one`, {
    advice: `Nothing was done. ${NAME_CERTIFICATE}`,
    cause: error,
  });
}

const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Describes why the connection failed: nothing was sent. */
function connectFailure(target: ApiTarget, error: Error): NotSent {
  if (error instanceof NotSent) return error;
  const name = formatTarget(target);
  const code = systemCode(error) ?? '';
  const fail = (what: string, advice: string): NotSent => new NotSent(`${name}: ${what}`, { advice, cause: error });
  if (UNTRUSTED.has(code))
    return fail(
      'its certificate is of no authority that this machine knows',
      'Name the file of its authority with --ca-file, or the hash of its key with --pin.',
    );
  if (code === 'CERT_HAS_EXPIRED') return fail('its certificate has expired', 'Who runs the server has to renew it.');
  if (code === 'CERT_NOT_YET_VALID')
    return fail('its certificate is not valid yet', 'Compare the clock of this machine with that of the server.');
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return fail('its certificate is for another name', 'Name the server as its certificate does.');
  if (code === 'ECONNREFUSED')
    return fail(
      'nothing listens there',
      target.kind === 'unix'
        ? 'Start `latchkey-auth-server api`, or name the socket of `api.socket:` in its configuration.'
        : 'Compare the port with `api.gateway.listen:` of the server, and see that `latchkey-auth-server api-gateway` runs.',
    );
  if (code === 'EACCES' && target.kind === 'unix')
    return fail(
      'permission denied',
      'Run as the user of the API or as root, or be in the group that its configuration names with `api.group:`.',
    );
  const { message, advice, cause } = systemFailure(`cannot connect to ${name}`, error);
  return new NotSent(message, { ...(advice === undefined ? {} : { advice }), cause });
}
