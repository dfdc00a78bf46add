/** Labels before the camera. */

import { nodeOfLabel } from '@latchkey/provisioning/label-text';
import { type CodeReader, openCodeReader } from './camera-codes.js';
import type { StringKey } from './strings/index.js';

/** Between two looks at the picture: a hand is not steadier than that. */
const PAUSE_MS = 150;

/** Says why no label can be scanned here; `undefined` if one can. */
export function whyNotScan(): StringKey | undefined {
  return isSecureContext ? undefined : 'install.insecure';
}

/** Something that the person in front of the camera can understand. */
export class CameraProblem extends Error {
  readonly text: StringKey;

  constructor(text: StringKey) {
    super(text);
    this.text = text;
  }
}

/**
 * Shows the camera in the video until a label is in it. Returns the ID of its node: the rest of the
 * label, its key too, is left where it was.
 *
 * @throws CameraProblem; the reason of the signal, which switches the camera off
 */
export async function scanLabel(video: HTMLVideoElement, signal: AbortSignal): Promise<string> {
  const reader = await openReader();
  const stream = await openCamera();
  try {
    signal.throwIfAborted();
    video.srcObject = stream;
    await video.play();
    for (;;) {
      signal.throwIfAborted();
      const codes = await reader(video);
      const id = codes.map(nodeOfLabel).find((one) => one !== undefined);
      if (id !== undefined) return id;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

async function openReader(): Promise<CodeReader> {
  try {
    return await openCodeReader();
  } catch {
    throw new CameraProblem('install.no-reader');
  }
}

async function openCamera(): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
  } catch (error) {
    const isRefused = error instanceof DOMException && error.name === 'NotAllowedError';
    throw new CameraProblem(isRefused ? 'install.camera-refused' : 'install.no-camera');
  }
}
