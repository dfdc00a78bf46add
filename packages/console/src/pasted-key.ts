/**
 * Keys that somebody scans or pastes into a field for something else: a label, the identity of an
 * installer, a line of a manifest, a token. They stay in the page: in no URL, and in no request.
 */

/** A label after its ID, what opens age files, and an API token. */
const SECRET = /latchkey:\d+\/[0-9a-f]{8}\/|AGE-SECRET-KEY-1|lk_[a-z2-7]{32}/i;
/** An initial key, as a manifest has it. */
const BARE_KEY = /(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/i;

/** Whether a text that is to be sent holds a key. IDs of jobs and sessions look like bare keys. */
export function holdsSecret(text: string): boolean {
  return SECRET.test(text);
}

/** Whether a text that is searched for holds a key. */
export function holdsKey(text: string): boolean {
  return holdsSecret(text) || BARE_KEY.test(text);
}
