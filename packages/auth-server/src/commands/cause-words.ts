/** Causes of a diagnosis as headings of groups of nodes. */

import type { Cause } from '@latchkey/operations/contract';

export const CAUSE_WORDS: Readonly<Record<Cause, string>> = {
  joined: 'joined',
  joining: 'joining right now',
  unknown: 'not in the registry',
  disabled: 'disabled',
  'outside-join-window': 'the order lets no nodes join now',
  'held-off': 'held off for some seconds, for the initial key was there before',
  expired: 'the key has expired, and its grace is over',
  expiring: 'the key should have been renewed by now',
  'server-silent': 'the auth-server does not run',
  'clock-set-back': 'the clock of the auth-server was set back',
  'controller-silent': 'the controller is silent',
  'controller-key': 'the controller has another SK_cs than the registry',
  clock: 'the clock of the controller is wrong',
  'wrong-controller': 'another controller than the assigned one asks',
  store: 'the auth-server cannot write to the registry',
  'proof-failed': 'the proof fails: the keys differ',
  'proof-missing': 'the node was answered, and proved nothing',
  restored: 'the node seems to have a newer key than the registry, which was restored',
  'device-has-this-key': 'the device has the key of the registry',
  'device-has-initial-key': 'the device has its initial key',
  'device-has-former-key': 'the device has a former key',
  'device-has-other-key': 'the device has a key that the registry does not know',
  'was-refused': 'a request was refused, for a reason that is over',
  'never-asked': 'no controller ever asked for the node',
  'device-silent': 'a request was refused, and none came since',
};
