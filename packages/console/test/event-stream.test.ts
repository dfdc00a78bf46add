// Server-sent events, however the network cuts them.

import { expect, it } from 'vitest';
import { EventStreamParser, type StreamEvent } from '../src/event-stream.js';

const TEXT =
  ': open\n\nid: a1\ndata: {"what":"node joined"}\n\n:\n\nevent: rate\nid: a2\ndata: {"node joined":812}\n\nevent: resync\nid: a3\ndata: {}\n\n';
const EVENTS: readonly StreamEvent[] = [
  { name: 'message', id: 'a1', data: '{"what":"node joined"}' },
  { name: 'rate', id: 'a2', data: '{"node joined":812}' },
  { name: 'resync', id: 'a3', data: '{}' },
];

it('events are the same wherever the text is cut', () => {
  expect(new EventStreamParser().push(TEXT)).toEqual(EVENTS);
  for (let length = 1; length < TEXT.length; length++) {
    const parser = new EventStreamParser();
    const found: StreamEvent[] = [];
    for (let at = 0; at < TEXT.length; at += length) found.push(...parser.push(TEXT.slice(at, at + length)));
    expect(found).toEqual(EVENTS);
  }
});

it('an event that does not end is given up', () => {
  const parser = new EventStreamParser();
  parser.push('data: ');
  expect(() => parser.push('x'.repeat(65_536))).toThrow(RangeError);
});
