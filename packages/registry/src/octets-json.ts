/** Values with octets in them as JSON has them. */

/** Under this name JSON has octets, in hex. */
const OCTETS = 'octets';

export function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return { [OCTETS]: toBuffer(value).toString('hex') };
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, toJson(of)]));
}

export function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first?.[0] === OCTETS && typeof first[1] === 'string') return Buffer.from(first[1], 'hex');
  return Object.fromEntries(entries.map(([name, of]) => [name, fromJson(of)]));
}

export function toBuffer(octets: Uint8Array): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
}
