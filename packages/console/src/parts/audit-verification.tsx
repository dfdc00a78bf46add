/** Walks the log on the server, and compares it with a head that was written down elsewhere. */

import type { AuditVerification as Verification } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.js';
import { findHead, isHead } from '../audit-head.js';
import { runQuery } from '../job-run.js';
import { Phrase, useSay } from '../phrase.js';
import type { StringKey } from '../strings/index.js';
import { FormField } from './form-field.js';
import { ProblemNote } from './problem-note.js';

/** Octets of a file that is searched for a head. */
const MAX_FILE = 1024 * 1024;

interface Result extends Verification {
  /** What the log was compared with. */
  readonly against: string;
}

export function AuditVerification(): JSX.Element {
  const say = useSay();
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState<StringKey>();
  const [result, setResult] = useState<Result>();
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setBusy] = useState(false);
  const left = useRef(new AbortController());
  useEffect(() => () => left.current.abort(), []);
  const take = async (file: File | undefined): Promise<void> => {
    if (file === undefined) return;
    const found = findHead(await file.slice(0, MAX_FILE).text());
    setWrong(found === undefined ? 'audit.no-head-in-file' : undefined);
    if (found !== undefined) setText(found);
  };
  const verify = async (): Promise<void> => {
    const against = text.trim();
    setWrong(against === '' || isHead(against) ? undefined : 'audit.against-invalid');
    if (against !== '' && !isHead(against)) return;
    setBusy(true);
    setProblem(undefined);
    setResult(undefined);
    try {
      const body = against === '' ? {} : { against };
      setResult({ ...(await runQuery<Verification>('/v1/audit/verifications', body, left.current.signal)), against });
    } catch (error) {
      if (left.current.signal.aborted) return;
      setProblem(problemOf(error));
    }
    setBusy(false);
  };
  return (
    <section aria-labelledby="verify-title">
      <h2 id="verify-title">{say('audit.verify')}</h2>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (!isBusy) void verify();
        }}
      >
        <FormField label="audit.against" hint={say('audit.against-hint')} error={undefined} isOptional>
          {(control) => (
            <input
              {...control}
              class="id"
              size={48}
              autoComplete="off"
              autoCapitalize="off"
              spellcheck={false}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </FormField>
        <label>
          <span>{say('audit.against-file')}</span>
          <input type="file" onChange={(event) => void take(event.currentTarget.files?.[0])} />
        </label>
        {wrong !== undefined && (
          <p class="field-error" role="alert">
            {say(wrong)}
          </p>
        )}
        <div class="buttons">
          <button type="submit" aria-disabled={isBusy}>
            {say('audit.verify-submit')}
          </button>
        </div>
        <div role="status">
          {isBusy && <p class="quiet">{say('audit.verifying')}</p>}
          {result?.valid === true && <Holds result={result} />}
        </div>
        {result?.valid === false && <Broken problems={result.problems} />}
        {problem !== undefined && <ProblemNote problem={problem} />}
      </form>
    </section>
  );
}

function Holds({ result: { head, against } }: { readonly result: Result }): JSX.Element {
  const say = useSay();
  return (
    <p class="note good head">
      <Phrase of="audit.holds" values={{ head: <code>{head}</code> }} /> {against !== '' && say('audit.holds-against')}
    </p>
  );
}

function Broken({ problems }: { readonly problems: readonly string[] }): JSX.Element {
  const say = useSay();
  return (
    <div class="note bad" role="alert">
      <strong>{say('audit.broken')}</strong>
      <ul lang="en">
        {problems.map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
    </div>
  );
}
