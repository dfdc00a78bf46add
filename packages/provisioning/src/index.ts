/** Files that hand over keys: manifests, labels, credentials of controllers. */

export { type Credential, formatCredential, parseCredential, readCredential, writeCredential } from './credential.js';
export { DeviceKeyReader } from './device-key-rows.js';
export {
  type AgeKeyPair,
  checkNewPassphrase,
  checkRecipients,
  decryptManifest,
  detectEncryption,
  encryptManifest,
  generateRecipient,
  type ManifestRecipients,
  parseIdentities,
  parseKeyPair,
  parsePassphrase,
} from './encrypted-manifest.js';
export { formatLabel, formatLabelInCapitals, parseLabel } from './label.js';
export { isLabel } from './label-text.js';
export { DEVICE_KEYS_HELP, MANIFEST_HELP } from './manifest-help.js';
export { ManifestReader } from './manifest-reader.js';
export { findManifestLine, formatManifest, type ManifestLine, MAX_MANIFEST, parseManifest } from './manifest.js';
export {
  MANIFEST_COLUMNS,
  type ManifestHandler,
  type ManifestProblem,
  type ManifestRow,
  type ManifestTexts,
} from './row-validator.js';
