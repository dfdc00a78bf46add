import type { AuditEntryView } from '@latchkey/operations/contract';
import type { ComponentChildren, JSX } from 'preact';
import { useSay } from '../phrase.js';
import { ThingLink } from './thing-link.js';
import { Time } from './time.js';

/** What an entry is about, as links. Its words are those of the log in every language. */
export function EntrySubject({ entry, node = true }: { readonly entry: AuditEntryView; readonly node?: boolean }): JSX.Element {
  const say = useSay();
  const parts: ComponentChildren[] = [];
  if (node && entry.node !== undefined)
    parts.push(
      <span>
        {say('entry.node')} <ThingLink kind="node" id={entry.node} />
      </span>,
    );
  if (entry.order !== undefined)
    parts.push(
      <span>
        {say('nodes.order')} <ThingLink kind="order" id={String(entry.order)} />
      </span>,
    );
  if (entry.controller !== undefined)
    parts.push(
      <span>
        {say('nodes.controller')} <ThingLink kind="controller" id={entry.controller} />
      </span>,
    );
  if (entry.count !== undefined) parts.push(<span>{say('entry.count', {}, entry.count)}</span>);
  if (entry.up_to !== undefined) parts.push(<span>{say('entry.up-to', { seq: String(entry.up_to) })}</span>);
  if (entry.key !== undefined)
    parts.push(
      <span>
        {say('nodes.key')} {entry.key_before !== undefined && <code>{entry.key_before} → </code>}
        <code>{entry.key}</code>
      </span>,
    );
  return <span class="subject">{parts}</span>;
}

/** Short list of entries: time, action, object, actor. */
export function EntryList({
  entries,
  node,
}: {
  readonly entries: readonly AuditEntryView[];
  readonly node?: boolean;
}): JSX.Element {
  return (
    <ol class="entries">
      {entries.map((entry) => (
        <li key={entry.seq}>
          <Time at={entry.at} />
          <span class="what" lang="en">
            {entry.what}
          </span>
          <EntrySubject entry={entry} {...(node === undefined ? {} : { node })} />
          <span class="quiet actor">{entry.actor}</span>
        </li>
      ))}
    </ol>
  );
}
