/**
 * Text in columns for a terminal: by the width it has there, where 김 takes two places and an accent
 * none.
 */

import stringWidth from 'string-width';

/** Rows under headings, columns aligned, two spaces between; nothing after the last column. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, i) =>
    rows.reduce((width, row) => Math.max(width, stringWidth(row[i] ?? '')), stringWidth(heading)),
  );
  return [headings, ...rows]
    .map(
      (row) =>
        `${row
          .map((cell, i) => pad(cell, widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** Names before values, aligned; values that are `undefined` are left out. */
export function formatFields(fields: Readonly<Record<string, string | undefined>>): string {
  const shown = Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  const width = Math.max(...shown.map(([name]) => stringWidth(name)));
  return shown.map(([name, value]) => `${pad(name, width)}  ${value}\n`).join('');
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - stringWidth(text)));
}
