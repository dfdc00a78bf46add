/**
 * Papers that labels are printed on, in mm. Imports nothing: browsers draw labels too. The
 * stylesheet of the console has the same measures, and a test compares them.
 */

export const LABEL_FORMATS = ['a4', 'letter', 'avery-l7160', 'avery-5160', 'roll-62'] as const;
export type LabelFormat = (typeof LABEL_FORMATS)[number];

interface Size {
  readonly width: number;
  readonly height: number;
}

interface Offset {
  readonly x: number;
  readonly y: number;
}

/** Where labels are on a page. All of a page are of one size. */
export interface LabelPage {
  /** For people. */
  readonly name: string;
  readonly page: Size;
  /** From the left and the upper edge of the page to the first label. */
  readonly margin: Offset;
  readonly columns: number;
  /** `undefined`: as many as fit below a heading. */
  readonly rows?: number;
  readonly label: Size;
  /** Between two labels. */
  readonly gap: Offset;
  /** Side of the QR code, with its quiet zone. */
  readonly code: number;
}

const CUT = { columns: 3, label: { width: 61, height: 32 }, gap: { x: 2.5, y: 2.5 }, code: 30 } as const;

export const LABEL_PAGES: Readonly<Record<LabelFormat, LabelPage>> = {
  a4: { name: 'A4, to be cut', page: { width: 210, height: 297 }, margin: { x: 10, y: 12 }, ...CUT },
  letter: { name: 'Letter, to be cut', page: { width: 215.9, height: 279.4 }, margin: { x: 12.7, y: 12.7 }, ...CUT },
  'avery-l7160': {
    name: 'A4 with 21 labels that peel off: Avery L7160, Zweckform 3475',
    page: { width: 210, height: 297 },
    margin: { x: 7.2, y: 15.1 },
    columns: 3,
    rows: 7,
    label: { width: 63.5, height: 38.1 },
    gap: { x: 2.5, y: 0 },
    code: 30,
  },
  'avery-5160': {
    name: 'Letter with 30 labels that peel off: Avery 5160, 8160',
    page: { width: 215.9, height: 279.4 },
    margin: { x: 4.8, y: 12.7 },
    columns: 3,
    rows: 10,
    label: { width: 66.7, height: 25.4 },
    gap: { x: 3.1, y: 0 },
    code: 23,
  },
  'roll-62': {
    name: 'a roll of 62 mm, a label each 31 mm',
    page: { width: 62, height: 31 },
    margin: { x: 0, y: 0 },
    columns: 1,
    rows: 1,
    label: { width: 62, height: 31 },
    gap: { x: 0, y: 0 },
    code: 29,
  },
};

/** Labels of one page, `undefined` if the browser decides how many fit. */
export function labelsOfPage({ columns, rows }: LabelPage): number | undefined {
  return rows === undefined ? undefined : columns * rows;
}
