/** Labels before the camera, read by the browser itself where it can. */

import { nodeOfLabel } from '@latchkey/provisioning/label-text';
import type { StringKey } from './strings/index.js';

/** https://wicg.github.io/shape-detection-api/#barcode-detection-api */
interface BarcodeDetector {
  readonly detect: (video: HTMLVideoElement) => Promise<readonly { readonly rawValue: string }[]>;
}
interface BarcodeDetectorClass {
  new (options: { readonly formats: readonly string[] }): BarcodeDetector;
  readonly getSupportedFormats: () => Promise<readonly string[]>;
}

const FORMAT = 'qr_code';
/** Between two looks at the picture: a hand is not steadier than that. */
const PAUSE_MS = 150;

function detectorClass(): BarcodeDetectorClass | undefined {
  return (globalThis as { readonly BarcodeDetector?: BarcodeDetectorClass }).BarcodeDetector;
}

/** Says why no label can be scanned here; `undefined` if one can. */
export function whyNotScan(): StringKey | undefined {
  if (!isSecureContext) return 'install.insecure';
  return detectorClass() === undefined ? 'install.no-detector' : undefined;
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
  const Detector = detectorClass();
  if (Detector === undefined || !(await Detector.getSupportedFormats()).includes(FORMAT))
    throw new CameraProblem('install.no-detector');
  const detector = new Detector({ formats: [FORMAT] });
  const stream = await openCamera();
  try {
    signal.throwIfAborted();
    video.srcObject = stream;
    await video.play();
    for (;;) {
      signal.throwIfAborted();
      const codes = await detector.detect(video);
      const id = codes.map(({ rawValue }) => nodeOfLabel(rawValue)).find((one) => one !== undefined);
      if (id !== undefined) return id;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
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
