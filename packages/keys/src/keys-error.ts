/**
 * Reason why no key is available. The daemon reports of a node: `unknown`, `initial` (it has not
 * joined), `disabled`, `removed`, `moved`, `expired`, `withdrawn` (not confirmed by the registry
 * for too long), `unknown-kid`. Of a label: `label-refused`. Of a connection: `not-allowed`,
 * `too-many`, `bad-request`, `unavailable`. The client itself reports `disconnected`, `timeout`,
 * `closed`.
 */
export type KeysErrorCode =
  | 'unknown'
  | 'initial'
  | 'disabled'
  | 'removed'
  | 'moved'
  | 'expired'
  | 'withdrawn'
  | 'unknown-kid'
  | 'label-refused'
  | 'not-allowed'
  | 'too-many'
  | 'bad-request'
  | 'unavailable'
  | 'disconnected'
  | 'timeout'
  | 'closed';

/** The message holds no key. */
export class KeysError extends Error {
  readonly code: KeysErrorCode;

  constructor(code: KeysErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KeysError';
    this.code = code;
  }
}
