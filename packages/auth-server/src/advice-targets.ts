/**
 * Properties of each command that advice needs, also of commands that a run does not load. A test
 * compares them with the commands.
 */

import type { AdviceTarget, AdviceTargets } from '@latchkey/runtime/cli';

const HERE = ['--data', '--local-data', '--config', '--master-key-file', '--master-key-command'];
const ELSEWHERE = ['--context', '--token-file', '--ca-file', '--pin', '--client-cert', '--client-key', '--identity-file'];

/** Works on no registry, or has commands below it. */
const PLAIN: AdviceTarget = { isLocal: false, placeOptions: [] };
const LOCAL: AdviceTarget = { isLocal: true, placeOptions: HERE };
const ANYWHERE: AdviceTarget = { isLocal: false, placeOptions: [...HERE, '--server', ...ELSEWHERE] };
/** With a `--server` that means something else. */
const BY_CONTEXT: AdviceTarget = { isLocal: false, placeOptions: [...HERE, ...ELSEWHERE] };

export const ADVICE_TARGETS: AdviceTargets = new Map(
  Object.entries({
    init: LOCAL,
    run: LOCAL,
    api: LOCAL,
    'api-gateway': PLAIN,
    webhooks: PLAIN,
    deliver: PLAIN,
    health: PLAIN,
    backup: LOCAL,
    restore: LOCAL,
    upgrade: LOCAL,
    import: ANYWHERE,
    export: ANYWHERE,
    ...group('registry', LOCAL, ['copy', 'accept']),
    ...group('master-key', LOCAL, ['rotate']),
    ...group('token', LOCAL, ['create', 'list', 'revoke']),
    ...group('user', LOCAL, ['add', 'list', 'set', 'link', 'remove']),
    login: PLAIN,
    ...group('context', PLAIN, ['add', 'list', 'use', 'remove']),
    ...group('controller', ANYWHERE, ['list', 'show', 'rotate', 'remove']),
    ...group('controller', BY_CONTEXT, ['add', 'set']),
    ...group('clock', ANYWHERE, ['show']),
    ...group('clock', LOCAL, ['release']),
    ...group('order', ANYWHERE, [
      'create',
      'list',
      'show',
      'export',
      'labels',
      'set',
      'open',
      'suspend',
      'resume',
      'close',
      'exposure',
    ]),
    ...group('installer', ANYWHERE, ['add', 'list', 'show', 'set', 'remove']),
    ...group('node', ANYWHERE, [
      'list',
      'show',
      'why',
      'waiting',
      'dismiss',
      'disable',
      'enable',
      'move',
      'set',
      'reset',
      'remove',
    ]),
    ...group('job', ANYWHERE, ['list', 'show', 'cancel']),
    ...group('audit', ANYWHERE, ['list', 'follow', 'export', 'verify']),
    ...group('audit', LOCAL, ['prune']),
  }),
);

/** A command, and commands below it. */
function group(name: string, target: AdviceTarget, commands: readonly string[]): Record<string, AdviceTarget> {
  return Object.fromEntries([[name, PLAIN], ...commands.map((command) => [`${name} ${command}`, target] as const)]);
}
