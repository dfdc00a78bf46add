import type { JSX } from 'preact';
import type { DescriptionField } from '../description-draft.js';
import type { Conflict } from '../description-edit.js';
import { Phrase, useSay } from '../phrase.js';
import type { StringKey } from '../strings/index.js';
import { Time } from './time.js';

interface ConflictNoteProps {
  readonly conflict: Conflict;
  readonly labelOf: (field: DescriptionField) => StringKey;
}

/** Who was faster, and what it is now. */
export function ConflictNote({ conflict: { differences, entry }, labelOf }: ConflictNoteProps): JSX.Element {
  const say = useSay();
  return (
    <div class="note mild" role="alert">
      <strong>{say('describe.conflict')}</strong>
      {entry !== undefined && (
        <p>
          <Phrase of="fact.by" values={{ time: <Time at={entry.at} />, actor: entry.actor }} />:{' '}
          <span lang="en">{entry.what}</span>
        </p>
      )}
      {differences.length > 0 && (
        <ul>
          {differences.map(({ field, before, now }) => (
            <li key={field} class="text">
              {/* Of two texts that are written from right to left, the former one would stand last. */}
              {say(labelOf(field))}: “<bdi>{before}</bdi>” → “<bdi>{now}</bdi>”
            </li>
          ))}
        </ul>
      )}
      <p>{say('describe.conflict-advice')}</p>
    </div>
  );
}
