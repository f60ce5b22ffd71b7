/**
 * A mistake of the person who runs aoed: a bad option, a bad configuration, a path that cannot be
 * opened. The message is one line that names the place and the remedy; the process ends with exit
 * code 2 and nothing has been changed on disk.
 */
export class UsageError extends Error {
  readonly exitCode = 2;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "UsageError";
  }
}

/**
 * What may go wrong while running, though nobody made a mistake: a full disk, damage, a server that
 * cannot do what it was asked. The message is one line; the process ends with exit code 1.
 */
export class RuntimeFault extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "RuntimeFault";
  }
}

/** A part of the server that was asked something says nothing; what was asked has not been done. */
export class NoAnswer extends RuntimeFault {}

/** The `code` of a system error ("ENOENT"), or undefined for anything else that was thrown. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** What is wrong, in words, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
