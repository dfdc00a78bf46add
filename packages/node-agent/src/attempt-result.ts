/** How an attempt to join ends. */

export type AttemptResult =
  /** The key before and the key now by their fingerprints. */
  | { readonly kind: 'joined'; readonly keyBefore: string; readonly key: string; readonly lifetime: number }
  /** Four candidates are open and the oldest is too young to go. */
  | { readonly kind: 'wait'; readonly forMs: number }
  | { readonly kind: 'failed'; readonly step: 'M1' | 'M5'; readonly reason: FailedExchange };

/** Why an exchange gave no message that opens. */
export type FailedExchange =
  | { readonly kind: 'refused'; readonly code: string; readonly maxAge: number | undefined }
  | { readonly kind: 'no answer' }
  | { readonly kind: 'unreachable'; readonly code: string }
  /** `foreign`: ID_c of an answer from a controller that the node was not installed for. */
  | { readonly kind: 'undecryptable'; readonly answers: number; readonly foreign?: number | undefined };
