interface RowProps {
  readonly class?: string;
  readonly onClick: (event: { readonly target: EventTarget | null; readonly currentTarget: HTMLTableRowElement }) => void;
}

/** The link in a row is for the keyboard; a pointer may hit the whole row. */
export function rowProps(isOpen: boolean): RowProps {
  return {
    ...(isOpen ? { class: 'open' } : {}),
    onClick({ target, currentTarget }) {
      if (target instanceof Element && target.closest('a, button, dialog, label, input') === null)
        currentTarget.querySelector('a')?.click();
    },
  };
}
