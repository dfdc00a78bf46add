/** Values of an input that its schema knows as text only. */

import { parseId } from '@latchkey/protocol';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Endpoint, explainPeerSyntax, parsePeerEndpoint } from '@latchkey/runtime/net';

export function numberFromId(id: string): number {
  const number = parseId(id);
  if (number === undefined) throw new UsageFailure(`expected an ID of 8 hex digits, not ${id}`);
  return number;
}

export function endpointFrom(field: string, text: string): Endpoint {
  const endpoint = parsePeerEndpoint(text);
  if (endpoint === undefined) throw new UsageFailure(`${field}: ${explainPeerSyntax(text)}`, { advice: 'Nothing was changed.' });
  return endpoint;
}
