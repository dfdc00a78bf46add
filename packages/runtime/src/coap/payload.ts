/** A request or a response of `coap`. */
interface Message {
  toString: () => string;
  end(payload: Buffer): unknown;
}

const SOMETHING = (): string => 'octets';

/**
 * Ends a message with its payload. Whether there is any, `coap-packet` asks twice by decoding all of it as text, which for sealed octets takes as long
 * as sealing them: it is told.
 */
export function endWith(message: Message, payload: Uint8Array): void {
  if (payload.length > 0) message.toString = SOMETHING;
  // Copied: a view would have V8 move what lies in its heap out of it.
  message.end(Buffer.from(payload));
}
