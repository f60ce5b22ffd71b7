import { readFileSync } from "node:fs";

/** The version of this aoed, from package.json: "0.1.0". */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  }
).version;

/** The version as Config replies carry it: major, minor and patch in 4, 6 and 6 bits. */
export function firmwareVersion(version = VERSION): number {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number);
  return ((major & 0xf) << 12) | ((minor & 0x3f) << 6) | (patch & 0x3f);
}
