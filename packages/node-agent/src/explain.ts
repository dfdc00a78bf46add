/** What a failed attempt means to whoever stands before the device: one sentence, and the next step. */

import { formatId } from '@latchkey/protocol';
import { type Endpoint, Failure, formatEndpoint } from '@latchkey/runtime';
import type { AttemptResult } from './attempt.js';

export function explain(result: Exclude<AttemptResult, { kind: 'joined' }>, idI: number, controller: Endpoint): Failure {
  const node = formatId(idI);
  const at = formatEndpoint(controller);
  if (result.kind === 'wait') {
    return new Failure(
      `node ${node} has four keys open and must wait ${Math.ceil(result.forMs / 1000)} s before it may try a fifth`,
      {
        advice: 'It tries again by itself. If this lasts, the network answers but never confirms: look at the auth-server.',
      },
    );
  }
  const { why, step } = result;
  switch (why.kind) {
    case 'unreachable':
      return new Failure(`node ${node} cannot reach its controller at ${at} (${why.code})`, {
        advice: 'Is the controller running, and is that its address?',
      });
    case 'silent':
      return new Failure(`node ${node} gets no answer from its controller at ${at}`, {
        advice:
          'Is the controller running, is that its address, and does the network let UDP through? A controller with several addresses may answer from another than was asked, which is no answer: name the address that nodes ask in its `listen:`.',
      });
    case 'not opened':
      return new Failure(`node ${node} gets answers from ${at}, but none opens under its key`, {
        advice:
          'The initial key here differs from the registry’s, or the controller is not the one it was ordered for: compare with the manifest.',
      });
    case 'refused':
      return new Failure(`node ${node} is refused by its controller at ${at} (${why.code} to ${step})`, {
        advice: adviceFor(why.code, node),
      });
  }
}

function adviceFor(code: string, node: string): string {
  switch (code) {
    case '4.03':
      return `The registry does not have the node, or has it for another controller, or lets it not join now: latchkey-auth-server node why ${node}`;
    case '4.01':
      return 'The registry holds another key for this node: was it joined elsewhere, or the registry restored? The auth-server’s log says more.';
    case '4.04':
      return 'The controller has forgotten the exchange, as after a restart. The next attempt starts anew.';
    case '4.29':
      return 'Too many requests come from this address. It tries again later.';
    case '5.03':
      return 'The network cannot serve it now: it is overloaded, its store takes no writes, the clocks of controller and auth-server differ, or the auth-server’s clock was set back.';
    case '5.04':
      return 'The controller gets no answer from its auth-server: is that running, and does it have this controller’s credential?';
    default:
      return 'This is not what a Latchkey controller answers: is the address right?';
  }
}
