import type { ControllerRespondent } from '@latchkey/controller/controller';
import type { AttemptEnvironment } from '@latchkey/node-agent/join-attempt';
import {
  beginAttempt,
  installNode,
  KeyFeedClient,
  type KeyFeedClientOptions,
  receiveM4,
  receiveM6,
  Respondent,
  type RespondentOptions,
  SERVER_ROLE,
  type ServerRole,
} from '@latchkey/protocol';

/** The respondent as a controller drives it, and how many transactions are open. */
export type RespondentRole = ControllerRespondent & Pick<Respondent, 'pendingCount'>;

/** The initiator as an attempt drives it. */
export type InitiatorRole = Pick<AttemptEnvironment, 'beginAttempt' | 'receiveM4' | 'receiveM6'>;

/** The roles of @latchkey/protocol, as the shells take them. */
export interface Roles {
  readonly initiator: InitiatorRole & { readonly installNode: typeof installNode };
  readonly respondent: (options: RespondentOptions) => RespondentRole;
  readonly keyFeedClient: (options: KeyFeedClientOptions) => KeyFeedClient;
  readonly server: ServerRole;
}

export const PROFILE_ROLES: Roles = {
  initiator: { installNode, beginAttempt, receiveM4, receiveM6 },
  respondent: (options) => new Respondent(options),
  keyFeedClient: (options) => new KeyFeedClient(options),
  server: SERVER_ROLE,
};
