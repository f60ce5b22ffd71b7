/**
 * What one frame may cost at most: about a tenth above what was counted when the figure was entered.
 * Counts do not depend on the machine's speed or load, so whoever exceeds one has made the data path
 * dearer. Is that worth what it buys, enter the new count with the commit that says so.
 */
export const limits = {
  /** Bytes of JavaScript heap for a frame; what remains is one object for each measurement. */
  allocatedBytes: 0.5,
  /** Instructions of the interpreter for a request and its reply, on a disk in memory. */
  instructions: { read: 93_000, write: 96_000 },
  /** System calls for a batch of 16 frames that follow each other on the disk. */
  systemCalls: {
    read: { recvmmsg: 0, preadv: 1, sendmmsg: 1, others: 0 },
    write: { recvmmsg: 0, pwritev: 1, sendmmsg: 1, others: 0 },
  },
} as const;
