import { UsageError } from "../errors.ts";

export interface TargetAddress {
  readonly shelf: number;
  readonly slot: number;
}

/**
 * Reads "1.0" or "e1.0".
 * @param option what to name in the error: "--export"
 */
export function parseTargetAddress(text: string, option: string): TargetAddress {
  const match = /^e?(\d{1,5})\.(\d{1,3})$/.exec(text);
  const shelf = Number(match?.[1]);
  const slot = Number(match?.[2]);
  // The negation also catches what is not a number.
  if (!(shelf <= 65534 && shelf !== 4095 && slot <= 254)) {
    const right = "use SHELF.SLOT such as 1.0: shelf 0 to 65534 but not 4095, slot 0 to 254";
    throw new UsageError(`${option}: ${JSON.stringify(text)} is not a target address; ${right}`);
  }
  return { shelf, slot };
}
