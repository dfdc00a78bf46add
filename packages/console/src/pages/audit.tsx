/** The audit log, latest entry first, and its head to be written down. */

import type { AuditEntryView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { navigate, useLocation } from '../navigation.js';
import { EntrySubject } from '../parts/audit-entries.js';
import { AuditVerification } from '../parts/audit-verification.js';
import { Command, CopyButton } from '../parts/copy.js';
import { PageHead } from '../parts/page-head.js';
import { Pager } from '../parts/pager.js';
import { ProblemNote } from '../parts/problem-note.js';
import { Time } from '../parts/time.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { auditRequest, type AuditFilters, readAuditFilters, urlOf, withParameters, writeAuditFilters } from '../url-state.js';

interface AuditPageData {
  readonly items: readonly AuditEntryView[];
  readonly next: string | null;
  readonly total: number | null;
}

const PAGE_LENGTH = 100;

/** Kinds of entries that people look for. The log may have others. */
const KINDS = [
  'node joined',
  'node renewed',
  'node disabled',
  'node enabled',
  'node moved',
  'node lifetime changed',
  'node reset',
  'node removed',
  'nodes imported',
  'nodes exported',
  'order created',
  'order exported',
  'order opened',
  'order suspended',
  'order resumed',
  'order closed',
  'controller added',
  'controller changed',
  'controller removed',
  'controller key staged',
  'controller key activated',
  'clock discontinuity',
  'clock released',
  'token created',
  'token revoked',
  'registry backed up',
  'registry copied',
  'registry restored',
  'master key rotated',
  'log pruned',
] as const;

export function AuditPage(): JSX.Element {
  const say = useSay();
  const { path, query } = useLocation();
  const filters = readAuditFilters(query);
  const page = useResource<AuditPageData>(auditRequest(filters, query.get('after'), PAGE_LENGTH), { keepsPrevious: true });
  const { data, problem } = page;
  useEffect(() => {
    if (problem?.name === 'cursor-invalid')
      navigate(urlOf(path, withParameters(query, { after: null, from: null })), { replace: true });
  }, [problem]);
  return (
    <>
      <PageHead title={say('page.audit')} resource={page} />
      <Filters key={urlOf('', writeAuditFilters(filters))} filters={filters} />
      {problem?.name === 'forbidden' ? (
        <p class="note mild">{say('entry.forbidden')}</p>
      ) : (
        problem !== undefined && <ProblemNote problem={problem} retry={page.reload} />
      )}
      {data !== undefined && (
        <>
          {data.items.length === 0 ? (
            <section class="empty">
              <h2>{say(data.next === null ? 'audit.empty' : 'audit.empty-more')}</h2>
            </section>
          ) : (
            <EntryTable entries={data.items} isBusy={page.isLoading} />
          )}
          <Pager count={data.items.length} next={data.next} total={data.total} />
          <Head />
          <AuditVerification />
        </>
      )}
    </>
  );
}

function Filters({ filters }: { readonly filters: AuditFilters }): JSX.Element {
  const say = useSay();
  const [node, setNode] = useState(filters.node);
  const [actor, setActor] = useState(filters.actor);
  const show = (changes: Partial<AuditFilters>): void =>
    navigate(urlOf('/audit', writeAuditFilters(readAuditFilters(writeAuditFilters({ ...filters, node, actor, ...changes })))));
  return (
    <form
      class="filters"
      aria-label={say('nodes.filters')}
      onSubmit={(event) => {
        event.preventDefault();
        show({});
      }}
    >
      <label>
        <span>{say('audit.what')}</span>
        <select value={filters.what} onChange={({ currentTarget: { value } }) => show({ what: value })}>
          <option value="">{say('audit.anything')}</option>
          {KINDS.map((kind) => (
            <option key={kind} value={kind} lang="en">
              {kind}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span>{say('entry.node')}</span>
        <input
          class="id"
          size={9}
          maxLength={8}
          spellcheck={false}
          autoCapitalize="off"
          value={node}
          onInput={(event) => setNode(event.currentTarget.value)}
        />
      </label>
      <label>
        <span>{say('audit.actor')}</span>
        <input
          size={16}
          maxLength={128}
          spellcheck={false}
          value={actor}
          onInput={(event) => setActor(event.currentTarget.value)}
        />
      </label>
      <button type="submit">{say('nodes.apply')}</button>
      {[...writeAuditFilters(filters)].length > 0 && <a href="/audit">{say('nodes.clear')}</a>}
    </form>
  );
}

function EntryTable({ entries, isBusy }: { readonly entries: readonly AuditEntryView[]; readonly isBusy: boolean }): JSX.Element {
  const say = useSay();
  return (
    <table class="list" aria-busy={isBusy}>
      <caption class="hidden">{say('audit.caption')}</caption>
      <thead>
        <tr>
          <th scope="col" class="wide number">
            #
          </th>
          <th scope="col">{say('audit.time')}</th>
          <th scope="col">{say('audit.what')}</th>
          <th scope="col">{say('audit.about')}</th>
          <th scope="col" class="wide">
            {say('audit.actor')}
          </th>
          <th scope="col" class="wider">
            {say('audit.note')}
          </th>
        </tr>
      </thead>
      <tbody>
        {entries.map((entry) => (
          <tr key={entry.seq}>
            <td class="wide number quiet">{entry.seq}</td>
            <td>
              <Time at={entry.at} />
            </td>
            <td lang="en">{entry.what}</td>
            <td>
              <EntrySubject entry={entry} />
            </td>
            <td class="wide">{entry.actor}</td>
            <td class="wider note-cell">{entry.note}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Head(): JSX.Element {
  const say = useSay();
  const { data } = useResource<{ readonly head: string | null }>('/v1/audit/head');
  if (data === undefined || data.head === null) return <></>;
  return (
    <section aria-labelledby="head-title">
      <h2 id="head-title">{say('audit.head')}</h2>
      <p class="head">
        <code>{data.head}</code> <CopyButton text={data.head}>{say('common.copy')}</CopyButton>
      </p>
      <p class="quiet">{say('audit.head-about')}</p>
      <Command words={['latchkey-auth-server', 'audit', 'verify', '--against', data.head]} />
    </section>
  );
}
