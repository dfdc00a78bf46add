/** Gives an initial key of its own to each node of an order that still holds a certain one. */

import type { NodeView, OrderView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { formatNumber } from '../format.js';
import type { ListData } from '../list-page.js';
import {
  HandedOverView,
  HandOverProblem,
  PAGE_READS,
  ReaderFields,
  type Readers,
  useHandOver,
  useStoredInstaller,
} from '../parts/hand-over.js';
import { ProblemNote } from '../parts/problem-note.js';
import { ThingLink } from '../parts/thing-link.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useResource } from '../resource.js';

/** Nodes that have not joined, of which the holders are found. */
const MAX_READ = 1_000;
/** Holders that are named. */
const MAX_NAMED = 40;

interface ResetHoldersProps {
  readonly order: string;
  /** Fingerprint. */
  readonly initialKey: string;
  /** The nodes have other keys now. */
  readonly onDone: () => void;
}

export function ResetHolders({ order, initialKey, onDone }: ResetHoldersProps): JSX.Element {
  const say = useSay();
  const { data: terms, problem: unknown } = useResource<OrderView>(`/v1/orders/${order}`);
  const list = useResource<ListData<NodeView>>(`/v1/nodes?order=${order}&never_joined=true&limit=${MAX_READ}`);
  const stored = useStoredInstaller(terms?.installer);
  const [readers, setReaders] = useState<Readers>(PAGE_READS);
  const [typed, setTyped] = useState('');
  const handOver = useHandOver();
  const { isBusy, problem, isDoubtful, done, start } = handOver;
  useEffect(() => {
    if (done !== undefined) onDone();
  }, [done !== undefined]);
  const holders = (list.data?.items ?? []).filter(({ key, key_is_initial: isInitial }) => isInitial && key === initialKey);
  const failed = unknown ?? list.problem;
  return (
    <section aria-labelledby="reset-title">
      <h2 id="reset-title">{say('exposure.reset-title', { order, key: initialKey })}</h2>
      <p>
        <a href="/exposure">{say('exposure.back')}</a>
      </p>
      {failed !== undefined && <ProblemNote problem={failed} retry={list.reload} />}
      {done !== undefined && terms !== undefined ? (
        <HandedOverView done={done} order={terms.order} installer={terms.installer} site={terms.site} />
      ) : (
        list.data !== undefined && (
          <>
            <Holders holders={holders} isComplete={list.data.next === null} />
            {holders.length > 0 && (
              <form
                class="order-form"
                aria-busy={isBusy}
                onSubmit={(event) => {
                  event.preventDefault();
                  if (!isBusy) void start('/v1/resets', { order: Number(order), holding: initialKey }, readers);
                }}
              >
                <p class="note mild">{say('exposure.reset-about', { key: initialKey })}</p>
                <ReaderFields stored={stored} readers={readers} onChange={setReaders} errors={problem?.errors} />
                <label>
                  <span>{say('common.type-to-confirm', { expected: initialKey })}</span>
                  <input
                    class="id"
                    autoComplete="off"
                    spellcheck={false}
                    value={typed}
                    onInput={(event) => setTyped(event.currentTarget.value)}
                  />
                </label>
                <HandOverProblem of={handOver} />
                <div class="actions">
                  <button
                    type="submit"
                    class="danger"
                    disabled={typed.trim() !== initialKey}
                    aria-disabled={isBusy || isDoubtful}
                  >
                    {say('exposure.reset-submit')}
                  </button>
                </div>
              </form>
            )}
          </>
        )
      )}
    </section>
  );
}

interface HoldersProps {
  readonly holders: readonly NodeView[];
  /** Whether all nodes of the order that have not joined were read. */
  readonly isComplete: boolean;
}

function Holders({ holders, isComplete }: HoldersProps): JSX.Element {
  const say = useSay();
  const limit = formatNumber(MAX_READ, localeOf(usePreferences()));
  return (
    <>
      <p>
        {holders.length === 0
          ? say(isComplete ? 'exposure.reset-none' : 'exposure.reset-none-read', { limit })
          : say(isComplete ? 'exposure.reset-holders' : 'exposure.reset-at-least', {}, holders.length)}
      </p>
      {holders.length > 0 && (
        <p class="examples">
          {holders.slice(0, MAX_NAMED).map(({ id, name }) => (
            <span key={id}>
              <ThingLink kind="node" id={id} /> {name !== null && <span class="text quiet">{name}</span>}{' '}
            </span>
          ))}
          {holders.length > MAX_NAMED && '…'}
        </p>
      )}
      {!isComplete && holders.length > 0 && <p class="quiet">{say('exposure.reset-more', { limit })}</p>}
    </>
  );
}
