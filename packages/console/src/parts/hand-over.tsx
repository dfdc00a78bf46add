/** Hands over keys: the recipients, the job that encrypts the keys, and its result. */

import type { JSX } from 'preact';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { InstallerView } from '@latchkey/operations/contract';
import { makePageKey, type PageKey } from '../age-file.js';
import { type Problem, problemOf } from '../api.js';
import { type KeyFile, runKeyJob } from '../job-run.js';
import { type InstallerList, installerNamed } from '../installer-draft.js';
import { isInDoubt, isUnanswered, mayHaveBegun } from '../new-order-request.js';
import { OpenedManifest } from '../opened-manifest.js';
import { readRecipients } from '../recipients.js';
import { Phrase, useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { reloadAll, useSession } from '../session.js';
import { Command } from './copy.js';
import { errorAt, FormField } from './form-field.js';
import { Labels } from './labels.js';
import { ProblemNote } from './problem-note.js';
import { Time } from './time.js';

/** Who can open the file. */
export interface Readers {
  /** This page, to draw labels. */
  readonly page: boolean;
  /** age recipients of the installer, as typed. */
  readonly installer: string;
}

export const PAGE_READS: Readers = { page: true, installer: '' };

/**
 * The installer of an order, if it is stored.
 *
 * @param name `undefined`: nothing is handed over yet
 */
export function useStoredInstaller(name: string | undefined): InstallerView | undefined {
  const path = name === undefined ? undefined : `/v1/installers?name=${encodeURIComponent(name)}`;
  return installerNamed(useResource<InstallerList>(path).data, name ?? '');
}

interface ReaderFieldsProps {
  /** The installer of the order, if it is stored. */
  readonly stored: InstallerView | undefined;
  readonly readers: Readers;
  readonly onChange: (readers: Readers) => void;
  readonly errors: Problem['errors'];
}

export function ReaderFields({ stored, readers, onChange, errors }: ReaderFieldsProps): JSX.Element {
  const say = useSay();
  const typed = readRecipients(readers.installer);
  const isNobody = !readers.page && typed.length === 0;
  const recipients = stored?.recipients.join('\n') ?? '';
  const fill = (): void => onChange({ ...readers, installer: recipients });
  const filled = useRef('');
  // With another installer only: what somebody has read does not change under the eyes.
  useEffect(() => {
    if (typed.join('\n') === filled.current) {
      filled.current = recipients;
      if (readers.installer !== recipients) fill();
    }
  }, [stored?.id]);
  return (
    <fieldset>
      <legend>{say('hand-over.title')}</legend>
      <label class="check">
        <input
          type="checkbox"
          checked={readers.page}
          onChange={(event) => onChange({ ...readers, page: event.currentTarget.checked })}
        />{' '}
        <span>
          {say('hand-over.open')} <span class="quiet">{say('hand-over.open-about')}</span>
        </span>
      </label>
      <FormField
        label="hand-over.recipients"
        isOptional
        hint={say(isNobody ? 'hand-over.nobody' : 'hand-over.recipients-about')}
        error={errorAt(errors, 'recipients')}
      >
        {(props) => (
          <textarea
            {...props}
            class="id"
            rows={2}
            spellcheck={false}
            required={!readers.page}
            value={readers.installer}
            onInput={(event) => onChange({ ...readers, installer: event.currentTarget.value })}
          />
        )}
      </FormField>
      <div role="status">
        {stored !== undefined && recipients !== '' && (
          <StoredNote installer={stored} isUsed={typed.join('\n') === recipients} onUse={fill} />
        )}
      </div>
      <p class="quiet">{say('hand-over.recorded')}</p>
    </fieldset>
  );
}

interface StoredNoteProps {
  readonly installer: InstallerView;
  /** Whether the recipients in the field are those that are stored. */
  readonly isUsed: boolean;
  readonly onUse: () => void;
}

/** Who stored the recipients in the field; or a button that puts them there. */
function StoredNote({ installer, isUsed, onUse }: StoredNoteProps): JSX.Element {
  const say = useSay();
  const { name, recipients_changed_at: at, recipients_changed_by: actor } = installer;
  if (!isUsed)
    return (
      <button type="button" onClick={onUse}>
        {say('hand-over.fill', { installer: name })}
      </button>
    );
  const time = at === null ? '' : <Time at={at} />;
  return (
    <p class="quiet">
      <Phrase of="hand-over.stored" values={{ installer: <span class="text">{name}</span>, time, actor }} />
    </p>
  );
}

/** What was handed over. */
interface HandedOver {
  readonly file: KeyFile;
  /** Whether the page, and the installer, can open the file. */
  readonly isForPage: boolean;
  readonly isForInstaller: boolean;
  /** `undefined` if the page cannot open it, or has wiped it. */
  readonly manifest: OpenedManifest | undefined;
}

interface HandOver {
  readonly isBusy: boolean;
  readonly problem: Problem | undefined;
  /** Whether the request may have been done. It is not sent again then. */
  readonly isDoubtful: boolean;
  /** The reader says that the doubtful request was not done. */
  readonly dismissDoubt: () => void;
  readonly done: HandedOver | undefined;
  /** @param body without its recipients */
  readonly start: (path: string, body: object, readers: Readers) => Promise<void>;
  readonly reset: () => void;
}

/** One request, however often it is sent, and the key pair that opens its file. */
interface Attempt {
  readonly request: string;
  readonly idempotencyKey: string;
  readonly pageKey: PageKey | undefined;
  /** No answer came: the server may have done it. */
  readonly isUncertain: boolean;
}

/**
 * The keys are wiped when the page is left, and when the session ends.
 *
 * @param isRepeatable whether the request changes nothing if it is done twice
 */
export function useHandOver({ isRepeatable = false }: { readonly isRepeatable?: boolean } = {}): HandOver {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const [done, setDone] = useState<HandedOver>();
  const attempt = useRef<Attempt | undefined>(undefined);
  const [isDoubtful, setDoubtful] = useState(false);
  const abort = useRef<AbortController | undefined>(undefined);
  const manifest = useRef<OpenedManifest | undefined>(undefined);
  const wipe = useCallback(() => {
    manifest.current?.wipe();
    manifest.current = undefined;
    setDone((before) => before && { ...before, manifest: undefined });
  }, []);
  const isEnded = useSession().state === 'ended';
  useEffect(() => {
    if (isEnded) wipe();
  }, [isEnded]);
  useEffect(() => {
    addEventListener('pagehide', wipe);
    return () => {
      removeEventListener('pagehide', wipe);
      abort.current?.abort();
      wipe();
    };
  }, []);
  const start = async (path: string, body: object, readers: Readers): Promise<void> => {
    if (isDoubtful) return;
    setBusy(true);
    setProblem(undefined);
    abort.current = new AbortController();
    const { signal } = abort.current;
    try {
      const installer = readRecipients(readers.installer);
      const text = JSON.stringify([path, body, readers.page, installer]);
      // Another request than the one that may have been done: the reader looks first.
      if (attempt.current?.isUncertain === true && attempt.current.request !== text && !isRepeatable)
        throw new PageProblem('outcome-unknown');
      if (attempt.current?.request !== text) attempt.current = await newAttempt(text, readers.page);
      const { idempotencyKey, pageKey } = attempt.current;
      const recipients = [...(pageKey === undefined ? [] : [pageKey.recipient]), ...installer];
      const file = await runKeyJob({ path, body: { ...body, recipients }, idempotencyKey }, signal);
      const opened = pageKey && (await openManifest(pageKey, file.octets));
      attempt.current = undefined;
      // The server forgets it by itself within the hour.
      await file.acknowledge().catch(() => undefined);
      if (signal.aborted) opened?.wipe();
      else {
        manifest.current = opened;
        setDone({ file, isForPage: readers.page, isForInstaller: installer.length > 0, manifest: opened });
        reloadAll();
      }
    } catch (error) {
      const found = error instanceof PageProblem ? error.problem : problemOf(error);
      if (!mayHaveBegun(found)) attempt.current = undefined;
      else if (attempt.current !== undefined && isUnanswered(found)) attempt.current = { ...attempt.current, isUncertain: true };
      if (!signal.aborted) {
        setProblem(found);
        setDoubtful(isInDoubt(found) && !isRepeatable);
      }
    }
    setBusy(false);
  };
  const reset = (): void => {
    wipe();
    setDone(undefined);
  };
  const dismissDoubt = (): void => {
    setDoubtful(false);
    setProblem(undefined);
  };
  return { isBusy, problem, isDoubtful, dismissDoubt, done, start, reset };
}

/** Why nothing was handed over, and in doubt what to look at first. */
export function HandOverProblem({ of: { problem, isDoubtful, dismissDoubt } }: { readonly of: HandOver }): JSX.Element {
  const say = useSay();
  if (problem === undefined) return <></>;
  return (
    <>
      <ProblemNote problem={problem} />
      {isDoubtful && (
        <div class="actions">
          {/* In another tab: what was typed stays here. */}
          <a class="button" href="/orders" target="_blank" rel="noopener">
            {say('hand-over.look')}
          </a>
          <button type="button" onClick={dismissDoubt}>
            {say('hand-over.not-done')}
          </button>
        </div>
      )}
    </>
  );
}

/** Something that this browser cannot do. */
class PageProblem extends Error {
  readonly problem: Problem;

  constructor(name: string) {
    super(name);
    this.problem = { name, status: 0 };
  }
}

async function newAttempt(request: string, opensHere: boolean): Promise<Attempt> {
  const idempotencyKey = crypto.randomUUID();
  if (!opensHere) return { request, idempotencyKey, pageKey: undefined, isUncertain: false };
  try {
    return { request, idempotencyKey, pageKey: await makePageKey(), isUncertain: false };
  } catch {
    throw new PageProblem('browser-key');
  }
}

async function openManifest(key: PageKey, octets: Uint8Array): Promise<OpenedManifest> {
  try {
    return new OpenedManifest(await key.open(octets));
  } catch {
    throw new PageProblem('unreadable-file');
  }
}

interface HandedOverViewProps {
  readonly done: HandedOver;
  readonly order: number;
  readonly installer: string;
  readonly site: string | null;
  readonly isSplit?: boolean;
}

/** The age file to be saved, and the labels to be printed. */
export function HandedOverView({ done, order, installer, site, isSplit = false }: HandedOverViewProps): JSX.Element {
  const say = useSay();
  const { file, isForPage, isForInstaller, manifest } = done;
  return (
    <>
      {isSplit && <p class="note mild">{say('hand-over.split')}</p>}
      {isForInstaller && (
        <section class="note">
          <button type="button" class="primary" onClick={() => saveFile(file)}>
            {say('hand-over.download', { name: file.name })}
          </button>
          <p>{say('hand-over.download-about')}</p>
          <Command words={[...INSTALL, '--manifest', file.name, '--identity', 'identity.txt', '--id', 'ID']} />
        </section>
      )}
      {/* Before the labels: nobody looks below the last of a thousand. */}
      <p>
        {manifest !== undefined && say('hand-over.leave')} {say('hand-over.again-later')}
      </p>
      {manifest === undefined ? (
        isForPage && <p class="note mild">{say('hand-over.wiped')}</p>
      ) : (
        <Labels manifest={manifest} order={order} installer={installer} site={site} />
      )}
    </>
  );
}

const INSTALL = ['latchkey-node-agent', 'install', '--state', '/var/lib/latchkey/node-agent'] as const;

function saveFile({ name, octets }: KeyFile): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([octets], { type: 'application/octet-stream' }));
  link.download = name;
  link.click();
  // The browser has begun to save it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
