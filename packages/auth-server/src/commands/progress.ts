/**
 * A bar on a terminal while something long is done; nothing where standard error is no terminal.
 */
export async function withProgress<T>(
  what: string,
  total: number,
  work: (progress: (done: number) => void) => Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY || total === 0) return work(() => undefined);
  const { SingleBar, Presets } = await import('cli-progress');
  const bar = new SingleBar(
    { format: `${what} {bar} {percentage}% | {value}/{total}`, clearOnComplete: true, stream: process.stderr },
    Presets.shades_classic,
  );
  bar.start(total, 0);
  try {
    return await work((done) => bar.update(done));
  } finally {
    bar.stop();
  }
}
