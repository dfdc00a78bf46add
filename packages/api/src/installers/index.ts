/** Installers and their recipients, for commands on the machine of the API. */

export { type OpenInstallerStore, openInstallerStore } from './installer-store.js';
