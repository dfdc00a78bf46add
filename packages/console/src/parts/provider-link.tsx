/** Leads to the sign-in provider in another tab, and goes on here with its answer. */

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.js';
import { useSay } from '../phrase.js';
import { awaitAnswer, type StartedSignIn } from '../provider-tab.js';
import { ProblemNote } from './problem-note.js';

interface ProviderLinkProps {
  readonly begin: () => Promise<StartedSignIn>;
  /** Brings the answer to the server. */
  readonly finish: (body: { readonly secret: string; readonly query: string }) => Promise<void>;
}

export function ProviderLink({ begin, finish }: ProviderLinkProps): JSX.Element {
  const say = useSay();
  const [attempt, setAttempt] = useState(0);
  const [started, setStarted] = useState<StartedSignIn>();
  /** Of the last answer: another sign-in has begun since. */
  const [refused, setRefused] = useState<Problem>();
  const [failed, setFailed] = useState<Problem>();
  const [isOpened, setOpened] = useState(false);
  const beginAgain = (): void => {
    setFailed(undefined);
    setStarted(undefined);
    setOpened(false);
    setAttempt((count) => count + 1);
  };
  // A link that is there already opens a tab in every browser; a window that a script opens after
  // an answer may be blocked. Pages in the background begin nothing: a sign-in takes the place of
  // the browser's other one.
  useEffect(() => {
    let isGone = false;
    const tryToBegin = async (): Promise<void> => {
      try {
        const now = await begin();
        if (!isGone) setStarted(now);
      } catch (error) {
        if (!isGone) setFailed(problemOf(error));
      }
    };
    const start = (): void => {
      if (document.visibilityState !== 'visible') return;
      document.removeEventListener('visibilitychange', start);
      void tryToBegin();
    };
    document.addEventListener('visibilitychange', start);
    start();
    return () => {
      isGone = true;
      document.removeEventListener('visibilitychange', start);
    };
  }, [attempt]);
  useEffect(() => {
    if (started === undefined) return undefined;
    return awaitAnswer(started, async (query) => {
      try {
        await finish({ secret: started.secret, query });
        return undefined;
      } catch (error) {
        const problem = problemOf(error);
        setRefused(problem);
        // An answer counts once.
        beginAgain();
        return problem;
      }
    });
  }, [started]);
  return (
    <>
      {refused !== undefined && <ProblemNote problem={refused} />}
      {failed !== undefined && <ProblemNote problem={failed} retry={beginAgain} />}
      {started !== undefined && (
        <a
          class="button primary"
          href={started.location}
          target="_blank"
          rel="noopener noreferrer"
          onClick={() => {
            setRefused(undefined);
            setOpened(true);
          }}
        >
          {say('sign-in.provider-tab')}
        </a>
      )}
      <p role="status">{isOpened && say('sign-in.provider-waits')}</p>
    </>
  );
}
