/** Values of the registry that are not about one thing, by name. */
export const METADATA_NAMES = [
  'schema',
  'master key',
  'initial key id key',
  'transaction key',
  'adopted by',
  'restored',
  'last wall clock',
  'clock history',
] as const;
export type MetadataName = (typeof METADATA_NAMES)[number];
