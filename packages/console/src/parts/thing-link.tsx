import type { JSX } from 'preact';
import { openerOf } from '../drawer.js';
import { useLocation } from '../navigation.js';
import { type Opened, openedOf, openUrl } from '../url-state.js';

/** A link that opens a node, an order or a controller in the drawer. */
export function ThingLink({ kind, id }: Opened): JSX.Element {
  const { path, query } = useLocation();
  const opened = openedOf(path, query);
  const isOpen = opened?.kind === kind && opened.id === id;
  return (
    <a
      class="id"
      data-opens={openerOf({ kind, id })}
      aria-current={isOpen ? 'true' : undefined}
      href={openUrl(path, query, { kind, id })}
    >
      {id}
    </a>
  );
}
