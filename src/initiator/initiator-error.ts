import { AoeError } from "../aoe/header.wire.ts";
import { RuntimeFault } from "../errors.ts";

/** A request that was not done, with a message for people: who was asked, and what went wrong. */
export class InitiatorError extends RuntimeFault {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "InitiatorError";
  }
}

/** Nobody answered. */
export class NoAnswerError extends InitiatorError {
  constructor(message: string) {
    super(message);
    this.name = "NoAnswerError";
  }
}

/** The server answered with an error of the AoE header (AoEr11 §2.4). */
export class AoeReplyError extends InitiatorError {
  readonly code: number;

  constructor(name: string, code: number) {
    super(`${name}: ${describeAoeError(code)} (AoE error ${code})`);
    this.name = "AoeReplyError";
    this.code = code;
  }
}

/** The server answered with the error or fault bit of the ATA status. */
export class AtaReplyError extends InitiatorError {
  readonly status: number;
  readonly error: number;
  readonly lba: number;

  constructor(name: string, what: string, reply: { status: number; error: number; lba: number }) {
    const { status, error, lba } = reply;
    super(`${name}: ${what}: ${describeAtaError(status, error)} at sector ${lba}`);
    this.name = "AtaReplyError";
    this.status = status;
    this.error = error;
    this.lba = lba;
  }
}

function describeAoeError(code: number): string {
  switch (code) {
    case AoeError.unrecognizedCommand:
      return "the server does not know the command";
    case AoeError.badArgument:
      return "the server refused an argument of the command";
    case AoeError.deviceUnavailable:
      return "the disk is not available";
    case AoeError.configStringPresent:
      return "another config string is set";
    case AoeError.unsupportedVersion:
      return "the server speaks another version of AoE";
    case AoeError.targetReserved:
      return "the disk is reserved by another initiator";
    default:
      return "an error of unknown meaning";
  }
}

function describeAtaError(status: number, error: number): string {
  const registers = `status 0x${status.toString(16)}, error 0x${error.toString(16)}`;
  if ((error & 0x40) !== 0) return `unreadable (${registers})`;
  if ((error & 0x10) !== 0) return `beyond the end of the disk (${registers})`;
  if ((status & 0x20) !== 0) return `the disk failed (${registers})`;
  return `refused (${registers})`;
}
