import { constants } from "node:os";
import { DataType, load, open } from "ffi-rs";

/**
 * One-shot calls into libc (flock, ioctl, prctl, sendto, …) that need no C of ours. A call costs a
 * few microseconds and may block: never on the data path.
 *
 * A program that uses this in a worker must import it in the main thread as well: a process ends
 * badly when ffi-rs is unloaded together with the worker that alone had loaded it.
 */

/** The C types an argument can have. */
export const LibcType = {
  int: DataType.I32,
  /** Also size_t, off_t and the like; a JavaScript number. */
  long: DataType.I64,
  /** A pointer to the memory of a Buffer; the callee may write to it. */
  buffer: DataType.U8Array,
  /** A pointer to a terminated copy of a string. */
  string: DataType.String,
} as const;
export type LibcType = (typeof LibcType)[keyof typeof LibcType];

/** An argument with its C type, in the order of the C prototype. */
export type LibcArgument = readonly [type: LibcType, value: number | string | Buffer];

const library = "libc";
let opened = false;

/**
 * Calls a libc function that returns an int and reports failure as -1 with errno.
 * @returns what it returned, or the negative errno
 */
export function callLibc(functionName: string, ...libcArguments: LibcArgument[]): number {
  return call(functionName, DataType.I32, libcArguments);
}

/** The same for a function that returns a long, such as an offset in a file. */
export function callLibc64(functionName: string, ...libcArguments: LibcArgument[]): number {
  return call(functionName, DataType.I64, libcArguments);
}

function call(
  functionName: string,
  retType: DataType.I32 | DataType.I64,
  libcArguments: LibcArgument[],
): number {
  if (!opened) {
    // The empty path is the running program, which has libc loaded whichever libc it is.
    open({ library, path: "" });
    opened = true;
  }
  const result = load<typeof retType, true>({
    library,
    funcName: functionName,
    retType,
    paramsType: libcArguments.map(([type]) => type),
    paramsValue: libcArguments.map(([, value]) => value),
    errno: true,
  });
  const { value } = result;
  return value === -1 ? -result.errnoCode : value;
}

const errorNames = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** "EAGAIN" for -11 or 11. */
export function errnoName(errno: number): string {
  return errorNames.get(Math.abs(errno)) ?? `errno ${Math.abs(errno)}`;
}
