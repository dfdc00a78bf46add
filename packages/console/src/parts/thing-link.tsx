import type { JSX } from 'preact';
import { openerOf } from '../drawer.js';
import { useLocation } from '../navigation.js';
import { useUser } from '../session.js';
import { type Opened, openedOf, openUrl } from '../url-state.js';

/** A link that opens a node, an order or a controller in the drawer. */
export function ThingLink({ kind, id }: Opened): JSX.Element {
  return kind === 'controller' ? <ControllerLink id={id} /> : <OpeningLink kind={kind} id={id} />;
}

/** The ID alone for an installer, whom the API shows no controller. */
function ControllerLink({ id }: Pick<Opened, 'id'>): JSX.Element {
  const isInstaller = useUser()?.role === 'installer';
  return isInstaller ? <code>{id}</code> : <OpeningLink kind="controller" id={id} />;
}

function OpeningLink({ kind, id }: Opened): JSX.Element {
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
