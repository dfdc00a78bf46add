/**
 * Reads QR codes in a camera picture: with the browser if it supports that, else with the library
 * that also draws labels. The library is loaded with the camera.
 */

/** Returns the texts of the codes that are in the picture now. */
export type CodeReader = (video: HTMLVideoElement) => Promise<readonly string[]>;

/** https://wicg.github.io/shape-detection-api/#barcode-detection-api */
interface BarcodeDetector {
  readonly detect: (video: HTMLVideoElement) => Promise<readonly { readonly rawValue: string }[]>;
}
interface BarcodeDetectorClass {
  new (options: { readonly formats: readonly string[] }): BarcodeDetector;
  readonly getSupportedFormats: () => Promise<readonly string[]>;
}

const FORMAT = 'qr_code';
/** Pixels of the longer side that the library looks at: a phone then does so in time. */
const MAX_SIDE = 960;

/** @throws if the library cannot be loaded */
export async function openCodeReader(): Promise<CodeReader> {
  return (await openDetector()) ?? openLibrary();
}

async function openDetector(): Promise<CodeReader | undefined> {
  const { BarcodeDetector: Detector } = globalThis as { readonly BarcodeDetector?: BarcodeDetectorClass };
  // Some browsers have the class, and read no code with it.
  if (Detector === undefined || !(await Detector.getSupportedFormats()).includes(FORMAT)) return undefined;
  const detector = new Detector({ formats: [FORMAT] });
  return async (video) => (await detector.detect(video)).map(({ rawValue }) => rawValue);
}

async function openLibrary(): Promise<CodeReader> {
  const { readQrCode } = await import('@latchkey/provisioning/qr-reader');
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Error('the browser has no canvas');
  const { canvas } = context;
  return async (video) => {
    const { videoWidth, videoHeight } = video;
    const scale = Math.min(1, MAX_SIDE / Math.max(videoWidth, videoHeight, 1));
    const [width, height] = [Math.round(videoWidth * scale), Math.round(videoHeight * scale)];
    // Nothing has come from the camera yet.
    if (width === 0 || height === 0) return [];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.drawImage(video, 0, 0, width, height);
    const text = readQrCode(context.getImageData(0, 0, width, height));
    return text === undefined ? [] : [text];
  };
}
