/**
 * The text of a key file, from the generations in use. Pure: the same keys give the same octets.
 */

import type { Generation } from './key-snapshot.js';
import type { Format, Identity } from './target-config.js';
import type { Template } from './template.js';

const HEX_ID = /^[0-9a-f]{8}$/;
const HEX_KEY = /^(?:[0-9a-f]{2}){16,255}$/;
/** Default identity hint of `coap-server`. */
const LIBCOAP_HINT = 'CoAP';

/** An identity that no node has. */
const NO_IDENTITY = 'none';

/** Formats that are one file. */
type FileFormat = Exclude<Format, 'oscore'>;

export interface RenderOptions {
  readonly format: FileFormat;
  readonly label: string;
  readonly identity: Identity;
  /** 32 random hexadecimal digits, for format `stunnel`. */
  readonly placeholder: string;
  /** For format `template`. */
  readonly template?: Template | undefined;
}

/**
 * Renders one line, or one copy of the template, for each generation.
 *
 * @throws RangeError if an ID, a KID or a key is not hexadecimal, because it could inject a line
 */
export function renderFile(
  generations: readonly Generation[],
  { format, label, identity, placeholder, template }: RenderOptions,
): string {
  // stunnel refuses an empty file, and serves the keys from before.
  if (generations.length === 0 && format === 'stunnel') return `${NO_IDENTITY}:${placeholder}\n`;
  return generations
    .map((generation) => {
      const { id, kid } = generation;
      const key = generation.keys[label] ?? '';
      if (!HEX_ID.test(id) || !HEX_ID.test(kid) || !HEX_KEY.test(key))
        throw new RangeError('an ID, a key ID or a key is not hexadecimal');
      const name = identity === '{id}' ? id : `${id}@${kid}`;
      return renderLine(format, { name, id, kid, key, until: generation.until }, template);
    })
    .join('');
}

interface Line {
  readonly name: string;
  readonly id: string;
  readonly kid: string;
  readonly key: string;
  readonly until: number;
}

function renderLine(format: FileFormat, { name, id, kid, key, until }: Line, template: Template | undefined): string {
  switch (format) {
    case 'psk':
    case 'stunnel':
      return `${name}:${key}\n`;
    case 'hostapd':
      return `"${name}" PSK ${key}\n`;
    case 'libcoap':
      return `${LIBCOAP_HINT},${name},${key}\n`;
    case 'jsonl':
      return `${JSON.stringify({ identity: name, id, kid, key, until: Number.isFinite(until) ? new Date(until).toISOString() : null })}\n`;
    case 'template':
      if (template === undefined) throw new RangeError('format template needs a template');
      return template.render({ id, kid, key });
  }
}
