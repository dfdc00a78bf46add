import { Socket, type RemoteInfo, type SocketOptions } from 'node:dgram';
import type { AddressInfo } from 'node:net';

/**
 * Small datagrams that fit while the event loop is busy elsewhere: some 15,000. The kernel may
 * grant less.
 */
const RECEIVE_BUFFER = 4 * 1024 * 1024;

/** Takes each datagram that arrives. */
export type Receiver = (octets: Buffer, source: RemoteInfo) => void;

/** dgram's own constructor, which its type declarations leave out. */
const DgramSocket: new (options: SocketOptions) => Socket = Socket as unknown as new (options: SocketOptions) => Socket;

/**
 * A UDP socket whose datagrams go to one receiver. `coap` needs a real `dgram.Socket`. This one
 * emits no `message` event, so `coap` gets datagrams only through the receiver.
 */
export class GuardedSocket extends DgramSocket {
  readonly #receiver: Receiver;

  constructor(family: 4 | 6, receiver: Receiver) {
    // The socket sends to addresses only (`addressesOf`), so no name is resolved. Without this
    // function the first socket would load the resolver. It calls back synchronously, so that a
    // datagram is sent as it is handed over, not in a later tick.
    const lookup: SocketOptions['lookup'] = (address, _options, found) => found(null, address, family);
    // What a socket of IPv6 does with IPv4 is not left to the system's default.
    super({ type: family === 6 ? 'udp6' : 'udp4', ipv6Only: family === 6, recvBufferSize: RECEIVE_BUFFER, lookup });
    this.#receiver = receiver;
  }

  override emit(event: string, ...values: unknown[]): boolean {
    if (event !== 'message') return super.emit(event, ...values);
    const [octets, source] = values as [Buffer, RemoteInfo];
    this.#receiver(octets, source);
    return true;
  }
}

/** A guarded socket of a server: it does not ask what became of a response. */
export class ServerSocket extends GuardedSocket {
  /**
   * `coap` passes a callback with every datagram (octets, offset, length, port, address, callback).
   * `coap` does not wait for the callback, and Node.js would call it in a separate turn.
   */
  override send(...values: unknown[]): void {
    const [octets, offset, length, port, address] = values as [Uint8Array, number, number, number, string];
    super.send(octets, offset, length, port, address);
  }
}

/** A guarded socket that is connected to one peer: the kernel drops datagrams of others. */
export class ConnectedSocket extends GuardedSocket {
  #address: AddressInfo | undefined;

  /** `coap` asks with every answer, which would ask the kernel; connected, it does not change. */
  override address(): AddressInfo {
    this.#address ??= super.address();
    return this.#address;
  }

  /**
   * `coap` names its peer with every datagram (octets, offset, length, port, address, callback); a
   * connected socket knows it.
   */
  override send(...values: unknown[]): void {
    super.send(values[0] as Uint8Array, values.at(-1) as (error: Error | null, octets: number) => void);
  }
}
