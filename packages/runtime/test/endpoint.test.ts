// Proves which texts are HOST:PORT, and the octets of a NID.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressesOf, formatEndpoint, listenSchema, parseEndpoint, peerSchema, unmapIPv4 } from '../src/net/endpoint.js';
import { encodeNid, formatNid, sourcePrefix } from '../src/net/nid.js';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

describe('HOST:PORT', () => {
  it.each([
    ['192.0.2.1:5683', '192.0.2.1', 5683],
    ['[2001:db8::1]:5683', '2001:db8::1', 5683],
    ['[::]:0', '::', 0],
    ['[::ffff:192.0.2.1]:1', '::ffff:192.0.2.1', 1],
    ['[fe80::1%eth0]:5683', 'fe80::1%eth0', 5683],
    ['[fe80::1%wg_home]:5683', 'fe80::1%wg_home', 5683],
    ['[FE80::1%br-lan.7@x]:5683', 'FE80::1%br-lan.7@x', 5683],
    ['[febf::1%"a,b;c%d]"]:5683', 'febf::1%"a,b;c%d]"', 5683],
    ['[fe80::1%ümlaut-heißt]:5683', 'fe80::1%ümlaut-heißt', 5683],
    ['[2001:db8::1%15-letters-long]:1', '2001:db8::1%15-letters-long', 1],
    ['[fec0::1]:5683', 'fec0::1', 5683],
    ['controller.example:65535', 'controller.example', 65_535],
    ['localhost:00080', 'localhost', 80],
    ['straße.example:1', 'straße.example', 1],
    ['_gateway-2.lan:5683', '_gateway-2.lan', 5683],
  ])('%j names %s, port %i', (text, host, port) => expect(parseEndpoint(text)).toEqual({ host, port }));

  it.each([
    '',
    ':5683',
    '192.0.2.1',
    '192.0.2.1:',
    '192.0.2.1:65536',
    '192.0.2.1:99999',
    '192.0.2.1:-1',
    '192.0.2.1:5683 ',
    ' 192.0.2.1:5683',
    '192.0.2.1:5683\n',
    '192.0.2.1:0x10',
    '192.0.2.1:5683:5683',
    '2001:db8::1:5683',
    '[2001:db8::1]',
    '[2001:db8::g]:5683',
    '[192.0.2.1]:5683',
    '[localhost]:5683',
    '[]:5683',
    'coap://192.0.2.1:5683',
    'a host:5683',
    'host/path:5683',
    // It breaks the manifest that it goes into.
    'x,y:1',
    'x;y:1',
    'x"y:1',
    'kim@host:5683',
    // Link-local, of which nobody knows on which link.
    '[fe80::1]:5683',
    '[FEBF::1]:5683',
    '[fe80::1%]:5683',
    // No names of interfaces.
    '[fe80::1%a b]:5683',
    '[fe80::1%a/b]:5683',
    '[fe80::1%a:b]:5683',
    '[fe80::1%a\u0000]:5683',
    '[fe80::1%.]:5683',
    '[fe80::1%..]:5683',
    '[fe80::1%16-letters-long-]:5683',
    '[fe80::1%ümlaut-ist-lang]:5683',
    '[192.0.2.1%eth0]:5683',
    'host%eth0:5683',
  ])('is not %j', (text) => expect(parseEndpoint(text)).toBeUndefined());

  it('is written as it is read', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    fc.assert(
      fc.property(host, fc.nat(65_535), (given, port) => {
        expect(parseEndpoint(formatEndpoint({ host: given, port }))).toEqual({ host: given, port });
      }),
    );
  });

  it.each(['0.0.0.0', '[::]', '[0::0]', '[0:0:0:0:0:0:0:0]', '[::0.0.0.0]', '[::ffff:0.0.0.0]', '[::FFFF:0:0]', '[::%eth0]'])(
    'of a peer is not %s, every address of a machine, which is for listening',
    (host) => {
      const { success, error } = peerSchema.safeParse(`${host}:5683`);
      expect([success, error?.issues[0]?.message]).toEqual([false, expect.stringContaining('for listening alone')]);
      expect(listenSchema.safeParse(`${host}:5683`).success).toBe(true);
    },
  );

  it.each(['10.0.0.0:1', '[::1]:1', '[::ffff:10.0.0.0]:1', '[fe80::1%eth0]:1', '[f::]:1'])('of a peer may be %s', (text) => {
    expect(peerSchema.safeParse(text).success).toBe(true);
  });

  it('without the interface of a link-local address is refused where it is typed, and the message says how it is written', () => {
    for (const schema of [peerSchema, listenSchema]) {
      const message = expect.stringContaining('; an address that begins with fe80 needs its interface: [fe80::1%eth0]') as string;
      expect(schema.safeParse('[fe80::1]:5683').error?.issues).toMatchObject([{ message }]);
    }
    expect(peerSchema.safeParse('[2001:db8::g]:5683').error?.issues[0]?.message).not.toContain('fe80');
  });

  it('of a peer is not on port 0, which is for listening', () => {
    expect(peerSchema.safeParse('192.0.2.1:0').success).toBe(false);
    expect(peerSchema.parse('192.0.2.1:1')).toEqual({ host: '192.0.2.1', port: 1 });
    expect(listenSchema.parse('[::]:0')).toEqual({ host: '::', port: 0 });
    expect(listenSchema.safeParse('nowhere').success).toBe(false);
  });
});

describe('an NID', () => {
  it.each([
    ['192.0.2.7', 49_152, '00000000 00000000 0000ffff c0000207 c000', '192.0.2.7:49152'],
    ['::ffff:192.0.2.7', 49_152, '00000000 00000000 0000ffff c0000207 c000', '192.0.2.7:49152'],
    ['2001:db8::7', 5683, '20010db8 00000000 00000000 00000007 1633', '[2001:db8::7]:5683'],
    ['fe80::1%eth0', 1, 'fe800000 00000000 00000000 00000001 0001', '[fe80::1]:1'],
    ['::1', 65_535, '00000000 00000000 00000000 00000001 ffff', '[::1]:65535'],
    ['0.0.0.0', 0, '00000000 00000000 0000ffff 00000000 0000', '0.0.0.0:0'],
  ])('of %s, port %i, has the octets %s', (address, port, octets, text) => {
    expect(encodeNid(address, port)).toEqual(hex(octets));
    expect(formatNid(hex(octets))).toBe(text);
  });

  it('is read where it stands in a larger buffer', () => {
    const large = Buffer.concat([Buffer.alloc(5, 9), hex('00000000 00000000 0000ffff c0000207 c000'), Buffer.alloc(5, 9)]);
    expect(formatNid(large.subarray(5, 23))).toBe('192.0.2.7:49152');
  });

  it.each([0, 17, 19])('does not have %i octets', (length) => {
    expect(() => formatNid(new Uint8Array(length))).toThrow(RangeError);
  });
});

describe('an address', () => {
  it.each([
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8::7', '2001:db8::7'],
    ['::ffff:c000:207', '::ffff:c000:207'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
  ])('%s is called %s', (address, plain) => expect(unmapIPv4(address)).toBe(plain));

  it('counts for itself in IPv4 and on the link, for its /64 in IPv6', () => {
    expect(sourcePrefix('192.0.2.7')).not.toBe(sourcePrefix('192.0.2.8'));
    expect(sourcePrefix('2001:db8:1:2::1')).toBe(sourcePrefix('2001:db8:1:2:ffff:ffff:ffff:ffff'));
    expect(sourcePrefix('2001:db8:1:2::1')).not.toBe(sourcePrefix('2001:db8:1:3::1'));
    expect(sourcePrefix('fe80::1%eth0')).not.toBe(sourcePrefix('fe80::2%eth0'));
    expect(sourcePrefix('fe80::1%eth0')).not.toBe(sourcePrefix('fe80::1%eth1'));
  });

  it('is found for a name, and the failure to find one says which', async () => {
    expect(await addressesOf({ host: '127.0.0.1', port: 1 })).toEqual([{ address: '127.0.0.1', family: 4 }]);
    expect(await addressesOf({ host: '::1', port: 1 })).toEqual([{ address: '::1', family: 6 }]);
    expect(await addressesOf({ host: 'fe80::1%eth0', port: 1 })).toEqual([{ address: 'fe80::1%eth0', family: 6 }]);
    await expect(addressesOf({ host: 'no-such-name.invalid', port: 5683 })).rejects.toMatchObject({
      name: 'Failure',
      message: expect.stringContaining('cannot find no-such-name.invalid:5683') as string,
    });
  });

  it.each(['::ffff:192.0.2.7', '::FFFF:c000:207', '0:0:0:0:0:ffff:192.0.2.7'])(
    'of IPv4 within IPv6 is one of IPv4, whatever net.ipv6.bindv6only says: %s',
    async (host) => expect(await addressesOf({ host, port: 1 })).toEqual([{ address: '192.0.2.7', family: 4 }]),
  );
});
