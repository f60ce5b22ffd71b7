import { constants } from "node:os";
import { callLibc, callLibc64, errnoName, LibcType } from "./libc.ts";

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

const AT_EMPTY_PATH = 0x1000;
const STATX_DIOALIGN = 0x2000;
const STATX_BYTES = 256;
const STX_MASK = 0;
const STX_DIO_MEM_ALIGN = 152;
const STX_DIO_OFFSET_ALIGN = 156;

/**
 * Frees a range of a file, which then reads as zeros (fallocate(2)).
 * @returns 0 or the negative errno
 */
function punchHole(descriptor: number, offset: number, length: number): number {
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return callLibc(
    "fallocate",
    [LibcType.int, descriptor],
    [LibcType.int, mode],
    [LibcType.long, offset],
    [LibcType.long, length],
  );
}

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/**
 * Where the next data at or behind `offset` is (lseek(2)), so that holes need not be read.
 * @returns its range; undefined when only a hole is left. A file system that cannot tell says that
 * everything is data.
 */
export function nextData(
  descriptor: number,
  offset: number,
  sizeBytes: number,
): { start: number; end: number } | undefined {
  const start = seek(descriptor, offset, SEEK_DATA);
  if (start === -constants.errno.ENXIO) return undefined;
  if (start < 0) return { start: offset, end: sizeBytes };
  const end = seek(descriptor, start, SEEK_HOLE);
  return { start, end: end < start ? sizeBytes : end };
}

function seek(descriptor: number, offset: number, whence: number): number {
  return callLibc64(
    "lseek",
    [LibcType.int, descriptor],
    [LibcType.long, offset],
    [LibcType.int, whence],
  );
}

/** Whether holes can be punched in the file: tried behind its end, where there is nothing. */
export function canPunchHoles(descriptor: number, sizeBytes: number): boolean {
  const offset = Math.ceil(sizeBytes / 4096) * 4096;
  return !["EOPNOTSUPP", "ENOSYS"].includes(errnoName(punchHole(descriptor, offset, 4096)));
}

export interface DirectAlignment {
  readonly memoryBytes: number;
  /** Offsets and lengths must be multiples of it; 0: the file system has no direct I/O. */
  readonly offsetBytes: number;
}

/** What O_DIRECT asks of an open file (statx(2), Linux 6.1); undefined when nobody says. */
export function directAlignment(descriptor: number): DirectAlignment | undefined {
  const answer = Buffer.alloc(STATX_BYTES);
  const result = callLibc(
    "statx",
    [LibcType.int, descriptor],
    [LibcType.string, ""],
    [LibcType.int, AT_EMPTY_PATH],
    [LibcType.int, STATX_DIOALIGN],
    [LibcType.buffer, answer],
  );
  if (result < 0 || (answer.readUInt32LE(STX_MASK) & STATX_DIOALIGN) === 0) return undefined;
  return {
    memoryBytes: answer.readUInt32LE(STX_DIO_MEM_ALIGN),
    offsetBytes: answer.readUInt32LE(STX_DIO_OFFSET_ALIGN),
  };
}
