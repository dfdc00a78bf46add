import { formatId } from '@latchkey/protocol';
import {
  type ApplicationKeyOptions,
  applicationKeyOptions,
  deriveKeys,
  expiredFailure,
  idArgument,
  noFormerKey,
  withExamples,
} from '@latchkey/runtime/cli';
import { formatKeys, selectGenerations } from '@latchkey/runtime/key-output';
import type { KeyGeneration, NodeKeys } from '@latchkey/key-delivery';
import { Command } from 'commander';
import { askDaemon, type DaemonAnswer } from '../daemon-keys.js';
import { missingKey } from '../missing-key.js';
import { type StateOptions, stateOptions, withApplicationRoots } from './state.js';

type KeyOptions = ApplicationKeyOptions & StateOptions;

export function keyCommand(): Command {
  const command = applicationKeyOptions(
    stateOptions(new Command('key'))
      .description('application keys shared with a node that joined through this controller, from its application root')
      .argument('<id>', 'ID_i, 8 hex digits', idArgument),
  ).action(key);
  return withExamples(
    command,
    'latchkey-controller key 0000a1b2 --state ./state --label dtls-psk',
    'latchkey-controller key 0000a1b2 --state ./state --label mqtt-psk --label tls-psk --all --format json',
  );
}

/** A controller that runs on the folder is asked first: it may have the store to itself (musl). */
async function key(idI: number, options: KeyOptions): Promise<void> {
  const id = formatId(idI);
  const { label, octets, allowExpired = false } = options;
  const answer = (await askDaemon(options.state, { id, label, octets, allowExpired })) ?? (await askStore(idI, options));
  if ('error' in answer)
    throw answer.error === 'expired' && !allowExpired ? expiredFailure(idI, undefined) : missingKey(idI, answer.error);
  const generations = selectGenerations(answer.generations, options);
  if (generations.length === 0) throw noFormerKey(idI);
  process.stdout.write(formatKeys(id, generations, { ...options, kid: options.kid ?? options.all }));
}

async function askStore(idI: number, options: KeyOptions): Promise<DaemonAnswer> {
  let answer: DaemonAnswer = { error: 'unknown' };
  await withApplicationRoots(options, (applicationRoots) => {
    const keys = applicationRoots.get(idI);
    if (keys !== undefined) answer = answerOf(keys, options);
  });
  return answer;
}

function answerOf({ idI, state, current, former }: NodeKeys, options: KeyOptions): DaemonAnswer {
  if (current === undefined || state !== 'current') return { error: state === 'current' ? 'unknown' : state };
  const now = Date.now();
  const isExpired = current.expiresAt !== undefined && now > current.expiresAt;
  const derive = (generation: KeyGeneration & { readonly until?: number }): ReturnType<typeof deriveKeys> => {
    const { keyId: kid, applicationRoot, expiresAt, until } = generation;
    const times = { not_after: timeOf(expiresAt), ...(until === undefined ? {} : { until: new Date(until).toISOString() }) };
    return deriveKeys(applicationRoot, idI, { kid, ...times }, options);
  };
  try {
    if (isExpired && options.allowExpired !== true) throw expiredFailure(idI, current.expiresAt);
    return { generations: [current, ...former].map(derive) };
  } finally {
    for (const { applicationRoot } of [current, ...former]) applicationRoot.wipe();
  }
}

function timeOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
