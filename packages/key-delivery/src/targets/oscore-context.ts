/**
 * OSCORE security contexts as folders, one for each generation of a node's key. The application
 * stores the sender sequence number in the folder. A context that restarts at 0 would encrypt two
 * messages under one nonce (RFC 8613 section 7.5). So each folder is created once only.
 */

import type { Generation } from './key-snapshot.js';
import { OSCORE_LABELS } from './target-config.js';

/** A folder, and the files that it starts with. */
export interface OscoreContext {
  /** `ID-KID` */
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
}

/** On which side of the network the contexts are used: each has the other's IDs swapped. */
export type OscoreRole = 'node' | 'network';

/** Sender ID of the network's side. A node's is its ID. */
const NETWORK_ID = '';

export function oscoreContexts(generations: readonly Generation[], role: OscoreRole): OscoreContext[] {
  return generations.map(({ id, kid, keys }) => {
    const secret = keys[OSCORE_LABELS.secret] ?? '';
    const salt = keys[OSCORE_LABELS.salt] ?? '';
    for (const hex of [id, kid, secret, salt]) if (!/^[0-9a-f]{8,}$/.test(hex)) throw new RangeError('not hexadecimal');
    const [sender, recipient] = role === 'node' ? [id, NETWORK_ID] : [NETWORK_ID, id];
    return {
      name: `${id}-${kid}`,
      files: {
        // aiocoap's FilesystemSecurityContext
        'settings.json': `${JSON.stringify({
          algorithm: 'AES-CCM-16-64-128',
          'kdf-hashfun': 'sha256',
          window: 32,
          'sender-id_hex': sender,
          'recipient-id_hex': recipient,
          'id-context_hex': kid,
        })}\n`,
        'secret.json': `${JSON.stringify({ secret_hex: secret, salt_hex: salt })}\n`,
        // libcoap's `-E oscore.conf,sequence`
        'oscore.conf': [
          `master_secret,hex,"${secret}"`,
          `master_salt,hex,"${salt}"`,
          `sender_id,hex,"${sender}"`,
          `recipient_id,hex,"${recipient}"`,
          `id_context,hex,"${kid}"`,
          'aead_alg,integer,10',
          'hkdf_alg,integer,-10',
          'replay_window,integer,32',
          '',
        ].join('\n'),
      },
    };
  });
}
