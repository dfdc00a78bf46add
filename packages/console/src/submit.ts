/** One request at a time, and what became of it. */

import { useRef, useState } from 'preact/hooks';
import { type Problem, problemOf } from './api.js';
import { reloadAll } from './session.js';

interface Submission {
  readonly isBusy: boolean;
  /** Of the last work that failed. */
  readonly problem: Problem | undefined;
  /** Does the work. Returns at once, and does nothing, while another one is being done. */
  readonly submit: (work: () => Promise<unknown>) => Promise<void>;
  readonly clearProblem: () => void;
}

export function useSubmit(): Submission {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  // A second press can come before the page is drawn again.
  const isRunning = useRef(false);
  const submit = async (work: () => Promise<unknown>): Promise<void> => {
    if (isRunning.current) return;
    isRunning.current = true;
    setBusy(true);
    setProblem(undefined);
    try {
      await work();
    } catch (error) {
      const found = problemOf(error);
      setProblem(found);
      // Another user was faster: show the current version.
      if (found.name === 'changed-meanwhile') reloadAll();
    }
    isRunning.current = false;
    setBusy(false);
  };
  return { isBusy, problem, submit, clearProblem: () => setProblem(undefined) };
}
