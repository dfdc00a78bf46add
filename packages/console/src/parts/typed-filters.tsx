/** The filters of nodes that are typed: the form stays, and its texts follow the URL. */

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useSay } from '../phrase.js';
import { type NodeFilters, readTypedFilters, type TypedFilters, typedFiltersOf, urlOf, writeNodeFilters } from '../url-state.js';
import type { StringKey } from '../strings/index.js';
import { TextFilter } from './text-filter.js';

type FieldName = keyof TypedFilters;

/** What is said of a field of which something cannot be read. */
const WRONG = {
  q: 'nodes.key-invalid',
  site: 'nodes.key-invalid',
  tag: 'nodes.key-invalid',
  order: 'nodes.order-invalid',
  controller: 'nodes.controller-invalid',
  starts: 'nodes.starts-invalid',
} as const satisfies Record<FieldName, StringKey>;

interface TypedFilterFields {
  /**
   * Returns the typed filters. Returns `undefined` if one is malformed, which is then shown.
   * Ignoring it would list more nodes than requested.
   */
  readonly read: () => Pick<NodeFilters, FieldName> | undefined;
  /** @param list ID of a list to choose from */
  readonly field: (name: FieldName, size: number, list?: string) => JSX.Element;
}

export function useTypedFilters(filters: NodeFilters): TypedFilterFields {
  const say = useSay();
  const [text, setText] = useState(typedFiltersOf(filters));
  const [wrong, setWrong] = useState<readonly FieldName[]>([]);
  useEffect(() => {
    setText(typedFiltersOf(filters));
    setWrong([]);
  }, [urlOf('', writeNodeFilters(filters))]);
  return {
    read: () => {
      const typed = readTypedFilters(text);
      setWrong(typed.wrong);
      return typed.wrong.length === 0 ? typed.filters : undefined;
    },
    field: (name, size, list) => (
      <TextFilter
        key={name}
        label={name === 'q' ? 'nodes.text' : `nodes.${name}`}
        size={size}
        value={text[name]}
        wrong={wrong.includes(name) ? say(WRONG[name]) : undefined}
        onChange={(value) => setText({ ...text, [name]: value })}
        {...(list === undefined ? {} : { list })}
      />
    ),
  };
}
