// Proves what the guard lets through to `coap`, what it answers itself and what it drops, for
// requests and for responses.

import { parse } from 'coap-packet';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOctet, type Datagram, formatDatagram, MESSAGE_TYPE, OPTION, type Option, parseDatagram } from '../src/datagram.js';
import { filterRequest, filterResponse, type Verdict } from '../src/guard.js';
import { toPacket } from '../src/packet.js';

const { CON, NON, ACK } = MESSAGE_TYPE;
const PORT = 40_000;
const BLOCK2 = 23;
const BLOCK1 = 27;
const PATH: Option = { number: OPTION.uriPath, value: Buffer.from('k') };
const TOKEN = Buffer.of(0x0a, 0x0b);

function octetsOf(given: Partial<Omit<Datagram, 'code'>> & { readonly code?: string }): Buffer {
  const { code = '0.02', options = [PATH], ...rest } = given;
  return formatDatagram({
    type: CON,
    messageId: 0x0102,
    token: TOKEN,
    payload: Buffer.of(0x11),
    ...rest,
    code: codeOctet(code),
    options: options.toSorted((a, b) => a.number - b.number),
  });
}

function option(number: number, length: number): Option {
  return { number, value: Buffer.alloc(length, 1) };
}

function requestWith(...options: readonly Option[]): Buffer {
  return octetsOf({ options: [PATH, ...options] });
}

function responseWith(...options: readonly Option[]): Buffer {
  return octetsOf({ type: ACK, code: '2.04', options });
}

/** The option numbers of what was passed on. */
function passedOptions(verdict: Verdict): readonly number[] {
  if (verdict.kind !== 'pass') throw new Error(`not passed but: ${JSON.stringify(verdict)}`);
  return verdict.datagram.options.map(({ number }) => number);
}

function repliedCode(verdict: Verdict): string {
  if (verdict.kind !== 'reply') throw new Error(`not replied but: ${JSON.stringify(verdict)}`);
  const { code, ack, messageId, token, options, payload } = parse(verdict.octets);
  expect({ ack, messageId, token, options, payload: payload.length }).toEqual({
    ack: true,
    messageId: 0x0102,
    token: TOKEN,
    options: [],
    payload: 0,
  });
  return code;
}

describe.each([
  ['a server', filterRequest, octetsOf({})],
  ['a client', filterResponse, responseWith()],
] as const)('the guard of %s', (_, filter, good) => {
  it('passes on a good datagram as it came', () => {
    const verdict = filter(good, PORT);
    expect(verdict).toEqual({ kind: 'pass', datagram: parseDatagram(good) });
  });

  it('drops what comes from port 0', () => {
    expect(filter(good, 0)).toEqual({ kind: 'drop', cause: 'source port 0' });
    expect(filter(good, 1).kind).toBe('pass');
    expect(filter(good, 65_535).kind).toBe('pass');
  });

  it('looks at 512 octets and no more', () => {
    const filled = (length: number): Buffer => Buffer.concat([good, Buffer.alloc(length - good.length, 1)]);
    expect(filter(filled(512), PORT).kind).toBe('pass');
    expect(filter(filled(513), PORT)).toEqual({ kind: 'drop', cause: 'too large' });
  });

  it.each([
    ['nothing', ''],
    ['three octets', '400200'],
    ['version 0', '00020001'],
    ['a token of 9 octets', '490200010102030405060708090a'],
    ['an option cut short', '40020001b2'],
    ['a payload marker with nothing behind it', '40020001ff'],
  ])('drops %s', (_name, hex) => {
    expect(filter(Buffer.from(hex, 'hex'), PORT)).toEqual({ kind: 'drop', cause: 'not CoAP' });
  });

  it('passes on nothing but what the parser of `coap` reads the same way, whatever comes', () => {
    let passed = 0;
    const near = fc
      .tuple(
        fc.constantFrom(...Object.values(OPTION), 1, 4, 5, 6, 8, BLOCK2, BLOCK1, 35, 60, 2049),
        fc.integer({ min: 0, max: 14 }),
        fc.nat(3),
        fc.nat(255),
        fc.uint8Array({ maxLength: 3 }),
      )
      .map(([number, length, type, code, tail]) =>
        Buffer.concat([
          formatDatagram({
            type,
            code: Math.max(1, code),
            messageId: 7,
            token: TOKEN,
            options: [option(number, length)],
            payload: Buffer.of(),
          }),
          tail,
        ]),
      );
    const anything = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
    fc.assert(
      fc.property(fc.oneof(near, anything), (octets) => {
        const verdict = filter(octets, PORT);
        if (verdict.kind !== 'pass') return;
        passed += 1;
        // Formatted again: the guard has left out options that it does not understand.
        const { options, ...read } = parse(formatDatagram(verdict.datagram));
        expect(options.map(({ value }) => value)).toEqual(verdict.datagram.options.map(({ value }) => value));
        expect({ ...read, options: [] }).toEqual(toPacket(verdict.datagram));
      }),
      { numRuns: 3_000 },
    );
    expect(passed).toBeGreaterThan(0);
  });
});

describe('the guard of a server', () => {
  it('answers a ping with a Reset of its message ID', () => {
    const verdict = filterRequest(Buffer.from('4000beef', 'hex'), PORT);
    expect(verdict).toEqual({ kind: 'reply', octets: Buffer.from('7000beef', 'hex') });
  });

  it.each([
    ['an empty NON', '50000001'],
    ['an empty ACK', '60000001'],
    ['a Reset', '70000001'],
    ['a piggybacked response', '62440001aabb'],
    ['a separate response', '42440001aabb'],
    ['a NON response', '52440001aabb'],
    ['an error', '62840001aabb'],
    ['a request in an ACK', '60020001'],
    ['a request in a Reset', '70020001'],
    ['a code of class 1', '40200001'],
    ['a code of class 7', '40e10001'],
  ])('drops %s', (_, hex) => {
    expect(filterRequest(Buffer.from(hex, 'hex'), PORT)).toEqual({ kind: 'drop', cause: 'not a request' });
  });

  it.each(['0.01', '0.02', '0.03', '0.04'])('passes on method %s, confirmable or not', (code) => {
    expect(filterRequest(octetsOf({ code }), PORT).kind).toBe('pass');
    expect(filterRequest(octetsOf({ code, type: NON }), PORT).kind).toBe('pass');
  });

  it.each(['0.05', '0.06', '0.07', '0.31'])('refuses method %s with 4.05, and a NON in silence', (code) => {
    expect(repliedCode(filterRequest(octetsOf({ code }), PORT))).toBe('4.05');
    expect(filterRequest(octetsOf({ code, type: NON }), PORT).kind).toBe('drop');
  });

  it.each([
    ['If-Match', option(1, 2)],
    ['If-None-Match', option(5, 0)],
    ['OSCORE', option(9, 3)],
    ['Block2', option(BLOCK2, 1)],
    ['Block1', option(BLOCK1, 1)],
    ['Block1 of 4 octets', option(BLOCK1, 4)],
    ['Q-Block1', option(19, 1)],
    ['Proxy-Uri', option(35, 20)],
    ['Proxy-Scheme', option(39, 4)],
    ['number 65,535', option(0xffff, 0)],
    ['a Uri-Host of no octets', option(OPTION.uriHost, 0)],
    ['a Uri-Host of 256 octets', option(OPTION.uriHost, 256)],
    ['a second Uri-Host', [option(OPTION.uriHost, 3), option(OPTION.uriHost, 3)]],
    ['a Uri-Port of 3 octets', option(OPTION.uriPort, 3)],
    ['a second Uri-Port', [option(OPTION.uriPort, 2), option(OPTION.uriPort, 2)]],
    ['a Uri-Path of 256 octets', option(OPTION.uriPath, 256)],
    ['a Uri-Query of 256 octets', option(OPTION.uriQuery, 256)],
    ['an Accept of 3 octets', option(OPTION.accept, 3)],
    ['a second Accept', [option(OPTION.accept, 1), option(OPTION.accept, 1)]],
  ])('refuses a critical option it does not understand with 4.02, and a NON in silence: %s', (_, bad) => {
    const options = [PATH, ...(Array.isArray(bad) ? bad : [bad])];
    expect(repliedCode(filterRequest(octetsOf({ options }), PORT))).toBe('4.02');
    expect(filterRequest(octetsOf({ options, type: NON }), PORT)).toEqual({ kind: 'drop', cause: 'unknown critical option' });
  });

  it.each([
    ['Observe', option(6, 1)],
    ['ETag', option(4, 8)],
    ['Max-Age', option(OPTION.maxAge, 1)],
    ['Hop-Limit', option(16, 1)],
    ['Size2', option(28, 4)],
    ['Size1', option(60, 4)],
    ['No-Response', option(258, 1)],
    ['Request-Tag', option(292, 8)],
    ['Uri-Host', option(OPTION.uriHost, 9)],
    ['Uri-Port', option(OPTION.uriPort, 2)],
    ['a Content-Format of 3 octets', option(OPTION.contentFormat, 3)],
    ['an Echo of no octets', option(OPTION.echo, 0)],
    ['an Echo of 41 octets', option(OPTION.echo, 41)],
  ])('leaves out what may be ignored: %s', (_, elective) => {
    expect(passedOptions(filterRequest(requestWith(elective), PORT))).toEqual([OPTION.uriPath]);
  });

  it('leaves out the second of an elective option that may stand once, and keeps the first', () => {
    const first = { number: OPTION.echo, value: Buffer.of(1) };
    const verdict = filterRequest(requestWith(first, { number: OPTION.echo, value: Buffer.of(2) }), PORT);
    expect(passedOptions(verdict)).toEqual([OPTION.uriPath, OPTION.echo]);
    expect(verdict).toMatchObject({ datagram: { options: [PATH, first] } });
  });

  it('keeps what it understands, in order, with several segments of path and query', () => {
    const verdict = filterRequest(
      requestWith(
        PATH,
        option(OPTION.uriPath, 0),
        option(OPTION.contentFormat, 0),
        option(OPTION.uriQuery, 255),
        option(OPTION.uriQuery, 0),
        option(OPTION.accept, 2),
        option(OPTION.echo, 40),
      ),
      PORT,
    );
    expect(passedOptions(verdict)).toEqual([11, 11, 11, 12, 15, 15, 17, 252]);
  });

  it('leaves out options from the middle without moving the others', () => {
    const given = requestWith(
      option(6, 1),
      option(OPTION.uriHost, 20),
      { number: OPTION.echo, value: Buffer.of(9, 9) },
      option(60, 1),
    );
    const verdict = filterRequest(given, PORT);
    expect(passedOptions(verdict)).toEqual([OPTION.uriPath, OPTION.echo]);
    const options = [PATH, { number: OPTION.echo, value: Buffer.of(9, 9) }];
    expect(verdict).toMatchObject({ datagram: { ...parseDatagram(given), options } });
  });
});

describe('the guard of a client', () => {
  it.each(['60000001', '70000001'])('passes on the empty message %s', (hex) => {
    expect(filterResponse(Buffer.from(hex, 'hex'), PORT).kind).toBe('pass');
  });

  it.each([
    ['a ping', '40000001'],
    ['an empty NON', '50000001'],
    ['a request', '42020001aabb'],
    ['a request in an ACK', '62010001aabb'],
    ['a response in a Reset', '72440001aabb'],
    ['a code of class 1', '62200001aabb'],
    ['a code of class 3', '62640001aabb'],
    ['a code of class 7', '62e10001aabb'],
  ])('drops %s', (_, hex) => {
    expect(filterResponse(Buffer.from(hex, 'hex'), PORT)).toEqual({ kind: 'drop', cause: 'not a response' });
  });

  it.each([ACK, CON, NON])('passes on answers of classes 2, 4 and 5 in a message of type %i', (type) => {
    for (const code of ['2.04', '4.29', '5.03']) {
      expect(filterResponse(octetsOf({ type, code, options: [] }), PORT).kind).toBe('pass');
    }
  });

  it.each([
    ['Block1 of 4 octets', option(BLOCK1, 4)],
    ['Block1', option(BLOCK1, 1)],
    ['Block2', option(BLOCK2, 1)],
    ['OSCORE', option(9, 0)],
    ['a Uri-Path', option(OPTION.uriPath, 1)],
    ['number 65,535', option(0xffff, 0)],
  ])('drops an answer with a critical option it does not understand: %s', (_, bad) => {
    expect(filterResponse(responseWith(bad), PORT)).toEqual({ kind: 'drop', cause: 'unknown critical option' });
  });

  it.each([
    ['Observe', option(6, 3)],
    ['ETag', option(4, 8)],
    ['Location-Path', option(8, 3)],
    ['Size2', option(28, 4)],
    ['a Max-Age of 5 octets', option(OPTION.maxAge, 5)],
    ['an Echo of 41 octets', option(OPTION.echo, 41)],
    ['a second Max-Age', [option(OPTION.maxAge, 1), option(OPTION.maxAge, 1)]],
  ])('leaves out what may be ignored: %s', (_, elective) => {
    const options = Array.isArray(elective) ? elective : [elective];
    const kept = passedOptions(filterResponse(responseWith(...options), PORT));
    expect(kept).toEqual(options.length === 2 ? [OPTION.maxAge] : []);
  });

  it('keeps Content-Format, Max-Age and Echo', () => {
    const given = responseWith(option(OPTION.contentFormat, 1), option(OPTION.maxAge, 4), option(OPTION.echo, 40));
    expect(passedOptions(filterResponse(given, PORT))).toEqual([12, 14, 252]);
  });
});
