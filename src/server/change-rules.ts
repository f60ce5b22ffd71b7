import { isDeepStrictEqual } from "node:util";
import {
  type Configuration,
  type TargetConfiguration,
  targetName,
} from "../config/configuration.ts";
import { type Difference, reopens, type TargetChange } from "../config/difference.ts";
import { locateKeys } from "../config/key-locator.ts";
import {
  ConfigurationError,
  type ConfigurationProblem,
  keyName,
  readText,
} from "../config/load.ts";
import { targetConflicts } from "../config/rules.ts";

/** The disk that is in use is never made anew: one that is not there any more was moved. */
export function isOtherDisk(change: TargetChange): boolean {
  if (change.kind !== "change") return true;
  const { target, before } = change;
  return (
    target.path !== before.path ||
    target.cas?.path !== before.cas?.path ||
    target.cas?.volume !== before.cas?.volume ||
    !isDeepStrictEqual(target.cas?.objectStore, before.cas?.objectStore)
  );
}

/** What cannot be done to a target in use. */
export function impossible(change: TargetChange): { key: string; message: string } | undefined {
  if (change.kind !== "change" || !reopens(change)) return undefined;
  const name = targetName(change.target);
  if (change.keys.includes("backend")) {
    const message = `${name} is in use with another backend; remove it first, or use another slot`;
    return { key: "backend", message };
  }
  if (change.target.backend === "memory") {
    const message = `${name} would lose what its memory holds; remove it and add it again`;
    return { key: change.keys[0], message };
  }
  return undefined;
}

/** @throws ConfigurationError that says where in the file what cannot be done stands */
export function refuseImpossible(
  { serverKeys, targets }: Difference,
  next: Configuration,
  kept: readonly TargetConfiguration[],
  path: string,
): void {
  const positions = locateKeys(readText(path));
  const problems: ConfigurationProblem[] = [];
  const problem = (place: (string | number)[], message: string): void => {
    problems.push({ ...positions.of(place), key: keyName(place), message });
  };
  // One line for all of them: a command shows the first problem only.
  const [serverKey, ...others] = serverKeys;
  if (serverKey !== undefined) {
    const more = others.length === 0 ? "it" : `it and for ${others.join(", ")}`;
    const right = `restart the server for ${more}`;
    problem(["server", serverKey], `cannot be changed while running; ${right}`);
  }
  for (const change of targets) {
    const wrong = impossible(change);
    const index = next.targets.indexOf(change.target);
    if (wrong !== undefined) problem(["target", index, ...wrong.key.split(".")], wrong.message);
  }
  for (const { index, key, message } of targetConflicts([...kept, ...next.targets])) {
    problem(["target", Math.max(0, index - kept.length), ...key.split(".")], message);
  }
  if (problems.length > 0) throw new ConfigurationError(problems, path);
}
