/** What a failed attempt means to the person at the device: one sentence, and the next step. */

import { formatId, type NodeState } from '@latchkey/protocol';
import { STATE_FOLDERS } from '@latchkey/runtime/cli';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { type CommandLine, Failure } from '@latchkey/runtime/failure';
import type { AttemptResult } from './attempt-result.js';

interface Attempted {
  /** What the node held when the attempt began. */
  readonly state: NodeState;
  /** State folder of the node. */
  readonly folder: string;
  readonly controller: Endpoint;
}

type Why = Extract<AttemptResult, { kind: 'failed' }>['reason'];

export function describeFailure(result: Exclude<AttemptResult, { kind: 'joined' }>, attempted: Attempted): Failure {
  const { state, controller } = attempted;
  const node = formatId(state.idI);
  const at = formatEndpoint(controller);
  if (result.kind === 'wait') {
    return new Failure(
      `node ${node} has four keys open and must wait ${Math.ceil(result.forMs / 1000)} s before it may try a fifth`,
      {
        advice: 'It tries again by itself. If this lasts, the network answers but never confirms: look at the auth-server.',
      },
    );
  }
  const { reason, step } = result;
  switch (reason.kind) {
    case 'unreachable':
      return new Failure(`node ${node} cannot reach its controller at ${at} (${reason.code})`, {
        advice: 'Is the controller running, and is that its address?',
      });
    case 'no answer':
      return new Failure(`node ${node} gets no answer from its controller at ${at}`, {
        advice:
          'Is the controller running, is that its address, and does the network let UDP through? A controller with several addresses may answer from another than was asked, which is no answer: name the address that nodes ask in its `listen:`.',
      });
    case 'undecryptable':
      return step === 'M1' ? notOpened(reason, attempted) : unconfirmed(node, at);
    case 'refused':
      return refused(reason.code, step, attempted);
  }
}

/** No M4 opened: the node tried each key that it holds. */
function notOpened(why: Extract<Why, { kind: 'undecryptable' }>, attempted: Attempted): Failure {
  const { state, controller } = attempted;
  const [node, at] = [formatId(state.idI), formatEndpoint(controller)];
  if (why.foreign !== undefined && state.controllers !== 'any')
    return foreignController(why.foreign, state.controllers, attempted);
  const key = String(state.confirmed);
  if (state.initial) {
    return new Failure(`node ${node} gets answers from ${at}, but none opens under its initial key ${key}`, {
      advice:
        'It was installed with another key than the registry has, or it had joined before and was installed again. On the auth-server:',
      run: [whyCommand(state)],
    });
  }
  const open = state.candidates.length;
  const others = open === 0 ? '' : ` or the ${open} that nobody confirmed`;
  return new Failure(`node ${node} gets answers from ${at}, but none opens under its key ${key}${others}`, {
    advice:
      'The registry has another key by now: the state of this device was copied or put back, the node was reset, or the registry was restored. On the auth-server:',
    run: [whyCommand(state)],
  });
}

function foreignController(idC: number, own: readonly number[], { state, folder, controller }: Attempted): Failure {
  const [node, at, id] = [formatId(state.idI), formatEndpoint(controller), formatId(idC)];
  return new Failure(
    `node ${node} gets answers from ${at}, but from controller ${id}, and it was installed for ${own.map(formatId).join(', ')}`,
    {
      advice: 'Name the address of its controller. Or, if the registry assigns it to that one, stop the agent and name that:',
      run: [['latchkey-node-agent', 'move', '--state', folder, '--controller', at, '--controller-id', id]],
    },
  );
}

/** M4 opened, so that the key is right. */
function unconfirmed(node: string, at: string): Failure {
  return new Failure(`node ${node} gets answers to M5 from ${at}, but none opens`, {
    advice: 'Its key is right, as the answer before has shown. Something on the way changes answers. It tries again by itself.',
  });
}

function refused(code: string, step: 'M1' | 'M5', { state, controller }: Attempted): Failure {
  const [advice, more] = adviceFor(code);
  return new Failure(
    `node ${formatId(state.idI)} is refused by its controller at ${formatEndpoint(controller)} (${code} to ${step})`,
    { advice: more ? `${advice} On the auth-server:` : advice, run: more ? [whyCommand(state)] : [] },
  );
}

/** Returns the advice, and whether the auth-server knows more. */
function adviceFor(code: string): readonly [advice: string, more: boolean] {
  switch (code) {
    case '4.03':
      return [
        'The registry does not have the node, or has it for another controller, or does not let it in now; if its key has expired, its grace is over.',
        true,
      ];
    case '4.01':
      return ['The registry holds another key for this node: was it joined elsewhere, or the registry restored?', true];
    case '4.04':
      return ['The controller has forgotten the exchange, as after a restart. The next attempt starts anew.', false];
    case '4.29':
      return ['Too many requests come from this address. It tries again later.', false];
    case '5.03':
      return [
        'The network cannot serve it now: it is overloaded, its store takes no writes, the clocks of controller and auth-server differ, or the auth-server’s clock was set back.',
        true,
      ];
    case '5.04':
      return [
        'The controller gets no answer from its auth-server: is that running, and does it have this controller’s credential?',
        true,
      ];
    default:
      return ['This is not what a Latchkey controller answers: is the address right?', false];
  }
}

/** On another machine, where packages keep the registry. */
function whyCommand({ idI, confirmed }: NodeState): CommandLine {
  const data = STATE_FOLDERS['auth-server'];
  return ['latchkey-auth-server', 'node', 'why', formatId(idI), '--holds', confirmed.fingerprint, '--data', data];
}
