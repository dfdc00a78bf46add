/** The manifest of an order, opened in the page: what labels are drawn from. */

import type { LabelParts } from '@latchkey/provisioning/label-text';

const HEADING = 'id,controller_id,controller,ik';
/** Only the name of an interface, in the address of a controller, is ever quoted. */
const LINE = /^([0-9a-f]{8}),([0-9a-f]{8}),(?:"((?:[^"]|"")+)"|([^",]+)),([0-9a-f]{32})$/;
const LINE_FEED = 10;

/**
 * Keeps the octets and no text of it, so that the keys can be wiped. A line becomes text while its
 * label is drawn.
 */
export class OpenedManifest {
  readonly #octets: Uint8Array;
  /** Where each line begins, and where the last one ends. */
  readonly #starts: readonly number[];

  /** @throws RangeError for what is no manifest; it names no content */
  constructor(octets: Uint8Array) {
    this.#octets = octets;
    const starts: number[] = [];
    for (let end = octets.indexOf(LINE_FEED); end !== -1; end = octets.indexOf(LINE_FEED, end + 1)) starts.push(end + 1);
    this.#starts = starts;
    if (this.#text(0, (starts[0] ?? 1) - 1) !== HEADING) throw new RangeError('the file is no manifest');
    for (let index = 0; index < this.length; index++) this.line(index);
  }

  /** Nodes in it. */
  get length(): number {
    return Math.max(this.#starts.length - 1, 0);
  }

  /** What the label of a node says. It holds a key. */
  line(index: number): LabelParts {
    const [start = 0, next = 0] = this.#starts.slice(index, index + 2);
    const match = LINE.exec(this.#text(start, next - 1));
    if (match === null) throw new RangeError(`line ${index + 2} of the manifest cannot be read`);
    const [, id = '', controllerId = '', quoted, plain, ik = ''] = match;
    return { id, controllerId, ik, controller: quoted?.replaceAll('""', '"') ?? plain ?? '' };
  }

  #text(start: number, end: number): string {
    return new TextDecoder().decode(this.#octets.subarray(start, Math.max(start, end)));
  }

  wipe(): void {
    this.#octets.fill(0);
  }
}
