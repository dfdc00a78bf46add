/** Names in the folder of a registry, or of a machine whose registry is in a database. */

/** Folder of the registry's store. */
export const STORE_FOLDER = 'registry';
/** A store that `restore` or `registry copy` fills. It is not whole. */
export const STAGED_STORE: string = `${STORE_FOLDER}-restoring`;
/** Begins the name of a store while `registry copy` copies it into a database. */
export const COPYING_STORE: string = `${STORE_FOLDER}-copying-`;
/** Begins its name from then on. */
export const COPIED_STORE: string = `${STORE_FOLDER}-copied-`;
/** What this machine has seen of its registry in a database. */
export const LAST_SEEN_FILE = 'postgres.json';
