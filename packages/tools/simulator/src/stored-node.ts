/** Keys in the text of a node's file, as the oracle finds it on a disk. */

interface StoredKeys {
  readonly confirmed: { readonly key: string };
  readonly candidates: readonly { readonly psk: string }[];
}

/** The keys in the file of a node, the confirmed one first. Throws where `text` is not whole. */
export function keysIn(text: string): string[] {
  const { confirmed, candidates } = JSON.parse(text) as StoredKeys;
  return [confirmed.key, ...candidates.map(({ psk }) => psk)];
}
