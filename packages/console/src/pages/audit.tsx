/** The audit log, latest entry first, and its head to be written down. */

import type { AuditEntryView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type ListData, PAGE_LENGTH, useListPage } from '../list-page.js';
import { navigate, useLocation } from '../navigation.js';
import { EntrySubject } from '../parts/audit-entries.js';
import { AuditVerification } from '../parts/audit-verification.js';
import { Command, CopyButton } from '../parts/copy.js';
import { PageHead } from '../parts/page-head.js';
import { Pager } from '../parts/pager.js';
import { ProblemNote } from '../parts/problem-note.js';
import { TextFilter } from '../parts/text-filter.js';
import { Time } from '../parts/time.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { auditRequest, type AuditFilters, readAuditFilters, readSearch, urlOf, writeAuditFilters } from '../url-state.js';

/** Kinds of entries, as the log has them. */
const KINDS = [
  'node joined',
  'node renewed',
  'node disabled',
  'node enabled',
  'node moved',
  'node lifetime changed',
  'node described',
  'node reset',
  'node removed',
  'node changed by import',
  'nodes imported',
  'nodes exported',
  'keys fetched',
  'key recipient refused',
  'order created',
  'order exported',
  'order opened',
  'order suspended',
  'order resumed',
  'order closed',
  'order described',
  'controller added',
  'controller changed',
  'controller removed',
  'controller key staged',
  'controller key activated',
  'clock discontinuity',
  'clock released',
  'installer added',
  'installer changed',
  'installer recipients changed',
  'installer removed',
  'token created',
  'token revoked',
  'user added',
  'user role changed',
  'user removed',
  'sign-in link made',
  'command login confirmed',
  'command login refused',
  'password set',
  'registry backed up',
  'registry copied',
  'registry restored',
  'master key rotation started',
  'master key rotated',
  'log pruned',
] as const;

export function AuditPage(): JSX.Element {
  const say = useSay();
  const { query } = useLocation();
  const filters = readAuditFilters(query);
  const page = useListPage<ListData<AuditEntryView>>(auditRequest(filters, query.get('after'), PAGE_LENGTH));
  const { data, problem } = page;
  return (
    <>
      <PageHead title={say('page.audit')} resource={page} />
      <Filters filters={filters} />
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
          <Pager page={page} />
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
  const [isWrong, setWrong] = useState(false);
  useEffect(() => {
    setNode(filters.node);
    setActor(filters.actor);
    setWrong(false);
  }, [urlOf('', writeAuditFilters(filters))]);
  /** An ID that cannot be read is not left out: the list would have entries about other nodes. */
  const show = (changes: Partial<AuditFilters>): void => {
    const search = readSearch(node);
    const isId = search.kind === 'node';
    setWrong(!isId && search.kind !== 'empty');
    if (!isId && search.kind !== 'empty') return;
    const typed = { ...filters, node: isId ? search.id : '', actor, ...changes };
    navigate(urlOf('/audit', writeAuditFilters(readAuditFilters(writeAuditFilters(typed)))));
  };
  const kinds: readonly string[] = KINDS;
  const offered = filters.what === '' || kinds.includes(filters.what) ? kinds : [...kinds, filters.what];
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
          {offered.map((kind) => (
            <option key={kind} value={kind} selected={kind === filters.what} lang="en">
              {kind}
            </option>
          ))}
        </select>
      </label>
      <TextFilter
        label="entry.node"
        size={9}
        value={node}
        wrong={isWrong ? say('audit.node-invalid') : undefined}
        onChange={setNode}
      />
      <TextFilter label="audit.actor" size={16} value={actor} onChange={setActor} />
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
  const { data, problem, reload } = useResource<{ readonly head: string | null }>('/v1/audit/head');
  if (problem !== undefined) return <ProblemNote problem={problem} retry={reload} />;
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
