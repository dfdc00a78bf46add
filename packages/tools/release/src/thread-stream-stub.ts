/**
 * In the place of `thread-stream`: pino asks for it where a log goes through a worker, and none
 * does.
 */
export default function threadStreamStub(): never {
  throw new Error('there are no workers for logs here');
}
