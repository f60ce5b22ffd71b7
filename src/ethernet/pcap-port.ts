import type { FrameArena } from "../arena/frame-arena.ts";
import type { EthernetPort, LinkState, PortStatistics, ReceivedFrames } from "./ethernet-port.ts";
import { acquirePcapWriter, type PcapWriter, releasePcapWriter } from "./pcap-writer.ts";

/**
 * The port, with every frame that it receives and sends recorded in a capture file that Wireshark
 * opens. Ports may share a file.
 * @throws UsageError when the file cannot be created
 */
export function pcapPort(port: EthernetPort, arena: FrameArena, path: string): PcapPort {
  return new PcapPort(port, arena, path);
}

export class PcapPort implements EthernetPort {
  readonly #port: EthernetPort;
  readonly #arena: FrameArena;
  readonly #path: string;
  readonly #writer: PcapWriter;
  #closing: Promise<void> | undefined;

  constructor(port: EthernetPort, arena: FrameArena, path: string) {
    this.#port = port;
    this.#arena = arena;
    this.#path = path;
    this.#writer = acquirePcapWriter(path);
  }

  /** Records that were dropped because the disk was too slow or failed. */
  get droppedRecords(): number {
    return this.#writer.droppedRecords;
  }

  /** The error of the disk that ended the recording, if one did. */
  get captureFailure(): Error | undefined {
    return this.#writer.failure;
  }

  get name(): string {
    return this.#port.name;
  }

  get link(): LinkState {
    return this.#port.link;
  }

  get received(): ReceivedFrames {
    return this.#port.received;
  }

  get statistics(): PortStatistics {
    return this.#port.statistics;
  }

  get onReadable(): (() => void) | undefined {
    return this.#port.onReadable;
  }

  set onReadable(callback: (() => void) | undefined) {
    this.#port.onReadable = callback;
  }

  get onLinkChange(): ((previous: LinkState) => void) | undefined {
    return this.#port.onLinkChange;
  }

  set onLinkChange(callback: ((previous: LinkState) => void) | undefined) {
    this.#port.onLinkChange = callback;
  }

  receive(maxFrames: number): number {
    const count = this.#port.receive(maxFrames);
    const { frames, lengths } = this.#port.received;
    for (let index = 0; index < count; index++) this.#record(frames[index], lengths[index]);
    return count;
  }

  send(frame: number, lengthBytes: number): void {
    this.#record(frame, lengthBytes);
    this.#port.send(frame, lengthBytes);
  }

  transmit(): void {
    this.#port.transmit();
  }

  release(frame: number): void {
    this.#port.release(frame);
  }

  setFilter(program: Uint8Array): void {
    this.#port.setFilter?.(program);
  }

  stopReceiving(): void {
    this.#port.stopReceiving();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#port.close();
    await releasePcapWriter(this.#path);
  }

  #record(frame: number, lengthBytes: number): void {
    this.#writer.record(this.#arena.bytes, this.#arena.frameOffset(frame), lengthBytes);
  }
}
