/** Server-sent events out of the text of a stream, as it comes in pieces. */

export interface StreamEvent {
  /** `message` unless the event says otherwise. */
  readonly name: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Characters of an event that has not come whole. The API's are far shorter. */
const MAX_PENDING = 65_536;

export class EventStreamParser {
  #pending = '';

  /**
   * Returns the events that are whole now.
   *
   * @throws RangeError if an event does not end
   */
  push(text: string): readonly StreamEvent[] {
    const blocks = `${this.#pending}${text}`.split('\n\n');
    this.#pending = blocks.pop() ?? '';
    if (this.#pending.length > MAX_PENDING) throw new RangeError('an event is too long');
    return blocks.flatMap((block) => parseEvent(block));
  }
}

/** Returns none for a comment, which keeps the connection open. */
function parseEvent(block: string): readonly StreamEvent[] {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const [, name = '', value = ''] = /^([a-z]+):? ?(.*)$/.exec(line) ?? [];
    if (name !== '') fields.set(name, value);
  }
  const data = fields.get('data');
  return data === undefined ? [] : [{ name: fields.get('event') ?? 'message', id: fields.get('id'), data }];
}
