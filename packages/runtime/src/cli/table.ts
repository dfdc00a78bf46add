/**
 * Text in columns for a terminal: by the width it has there, where 김 takes two places and an accent
 * none.
 */

import stringWidth from 'fast-string-width';

/** Controls, line breaks, and characters that change how those next to them are shown. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Rows under headings, columns aligned, two spaces between; nothing after the last column. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const cleaned = rows.map((row) => row.map(withoutUnseen));
  const widths = headings.map((heading, i) =>
    cleaned.reduce((width, row) => Math.max(width, stringWidth(row[i] ?? '')), stringWidth(heading)),
  );
  return [headings, ...cleaned]
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
  return shown.map(([name, value]) => `${pad(name, width)}  ${withoutUnseen(value)}\n`).join('');
}

/** Text from elsewhere must not command the terminal, nor look like other text. */
function withoutUnseen(text: string): string {
  return text.replaceAll(UNSEEN, '\ufffd');
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - stringWidth(text)));
}
