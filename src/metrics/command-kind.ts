/** What requests are told apart by in figures: the ATA commands that move data, then the others. */
export const commandKinds = [
  "read",
  "write",
  "flush",
  "trim",
  "identify",
  "other_ata",
  "config",
  "mac_mask",
  "reserve",
  "unknown",
] as const;

export type CommandKindName = (typeof commandKinds)[number];

/** The place of each kind in `commandKinds`: what the typed arrays are indexed by. */
export const CommandKind = {
  read: 0,
  write: 1,
  flush: 2,
  trim: 3,
  identify: 4,
  otherAta: 5,
  config: 6,
  macMask: 7,
  reserve: 8,
  unknown: 9,
} as const;
export type CommandKind = (typeof CommandKind)[keyof typeof CommandKind];

/** Why a request was answered with an error, in the words of ATA and of the AoE header. */
export const errorReasons = [
  /** ATA: a command or argument that is not served, a write to a disk that is read-only. */
  "aborted",
  /** ATA: past the end of the disk. */
  "id_not_found",
  /** ATA: the medium could not be read, or failed verification. */
  "uncorrectable",
  /** ATA: the disk behind the target has failed, is full, or was removed. */
  "device_fault",
  /** The target is reserved by another initiator. */
  "reserved",
  /** Any other error of the AoE header. */
  "protocol",
] as const;

export type ErrorReasonName = (typeof errorReasons)[number];

export const ErrorReason = {
  none: -1,
  aborted: 0,
  idNotFound: 1,
  uncorrectable: 2,
  deviceFault: 3,
  reserved: 4,
  protocol: 5,
} as const;
export type ErrorReason = (typeof ErrorReason)[keyof typeof ErrorReason];
