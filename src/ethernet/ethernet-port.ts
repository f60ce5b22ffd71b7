/**
 * EthernetPort: whole Ethernet frames in and out of one interface, in batches, without copies.
 *
 * Frames live in the FrameArena. `receive` takes free frames from the arena, fills them and lists
 * them in `received`; each of those then belongs to the caller, who gives it back with `send`
 * (ownership passes to the port, which releases it once the kernel has it) or `release`. A port
 * knows nothing of AoE.
 *
 * ```
 *   receive()  → received.frames[0..n), received.lengths[0..n)
 *   send(f, n) → queued          transmit() → handed to the kernel in one call
 * ```
 */
export interface EthernetPort {
  /** The interface as the administrator names it: "eth0". */
  readonly name: string;
  /** Replaced, never changed in place: the object of a moment can be kept and compared. */
  readonly link: LinkState;
  readonly received: ReceivedFrames;
  /** The counters of now; reading it may ask the kernel, so it is not for every batch. */
  readonly statistics: PortStatistics;

  /**
   * Receives at most `maxFrames` frames (bounded by the arena and `received`), never waits. 0 does
   * not mean that none waits: the arena may have no free frame, and then `onReadable` is called
   * again after one was released.
   * @returns how many entries of `received` are valid until the next call
   */
  receive(maxFrames: number): number;

  /**
   * Queues a frame of `lengthBytes` octets (at most MTU + 14) and takes it over. A frame shorter
   * than Ethernet's 60 octets is padded with zeros.
   */
  send(frame: number, lengthBytes: number): void;

  /** Hands queued frames to the kernel; what does not fit now follows when there is room. */
  transmit(): void;

  /** Gives a received frame back unanswered. */
  release(frame: number): void;

  /**
   * Called when frames may be waiting. Level-triggered: again on the next turn if some remain, so
   * whoever does not want to receive for a while sets it to undefined until then.
   */
  onReadable: (() => void) | undefined;

  /** Called after `link` changed: MTU, MAC, up, down, removed, added again. */
  onLinkChange: ((previous: LinkState) => void) | undefined;

  /**
   * Replaces the socket filter (struct sock_filter[]); only ports whose kernel side filters have it.
   * Frames that it would drop may still come: the kernel can refuse it.
   */
  setFilter?(program: Uint8Array): void;

  /** Stops receiving, but still sends (to answer what is in flight before the end). */
  stopReceiving(): void;

  /**
   * Sends what is queued (bounded: a full interface is given one second) and closes. Frames that
   * others still own may be given back afterwards; sending them counts as a failure.
   */
  close(): Promise<void>;
}

export interface LinkState {
  /** Six octets. */
  readonly mac: Uint8Array;
  /** Octets after the Ethernet header that one frame carries, at most what an arena frame holds. */
  readonly mtuBytes: number;
  /** The interface exists, is switched on and has a carrier. */
  readonly up: boolean;
}

export interface ReceivedFrames {
  /** Frame numbers in the arena. */
  readonly frames: Int32Array;
  /** Octets in the frame. */
  readonly lengths: Int32Array;
}

export interface PortStatistics {
  receivedFrames: number;
  sentFrames: number;
  /** Frames that the kernel dropped because the receive buffer was full. */
  receiveOverruns: number;
  /** Frames longer than a frame of the arena, dropped. */
  truncatedFrames: number;
  /** Frames that waited in the kernel for longer than STALE_AFTER_MS, dropped. */
  staleFrames: number;
  /** Frames for somebody else that the port itself dropped (those that the kernel filters out are not seen). */
  foreignFrames: number;
  /** Frames that could not be sent (interface gone, or longer than the MTU of now). */
  sendFailures: number;
  /** Times that the transmit queue was full and the rest had to wait. */
  sendStalls: number;
}

/**
 * A frame that waited for longer than this is dropped unexecuted: its sender has sent it again, perhaps
 * by another interface, and an old write must not overtake a newer one.
 */
export const STALE_AFTER_MS = 500;

/** Destination, source, EtherType. */
export const ETHERNET_HEADER_BYTES = 14;

/** The shortest frame on the wire, without its check sequence (IEEE 802.3 §3.2.7). */
export const MINIMUM_FRAME_BYTES = 60;

/** How many frames one call to the kernel moves, unless a port is told otherwise. */
export const DEFAULT_BATCH_FRAMES = 16;

export function emptyPortStatistics(): PortStatistics {
  return {
    receivedFrames: 0,
    sentFrames: 0,
    receiveOverruns: 0,
    truncatedFrames: 0,
    staleFrames: 0,
    foreignFrames: 0,
    sendFailures: 0,
    sendStalls: 0,
  };
}
