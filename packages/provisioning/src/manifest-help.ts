/**
 * What a manifest may be, for the help of commands that take one. In its own file: a daemon has the
 * help of all commands in its bundle, but not the reader.
 */
export const MANIFEST_HELP =
  'CSV with commas, semicolons or tabs and the header id,controller_id,controller,ik, or JSON with these names, in lines or in an array; in UTF-8 or UTF-16; name, site, location, tags and note may follow';

/** The same for a manufacturer's list of device keys. */
export const DEVICE_KEYS_HELP = 'CSV with the header id,device_key, or JSON Lines with these names';
