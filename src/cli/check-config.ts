import { realpathSync } from "node:fs";
import {
  type Configuration,
  targetName,
  type TargetConfiguration,
} from "../config/configuration.ts";
import {
  ConfigurationError,
  type ConfigurationProblem,
  formatProblem,
  keyName,
  parseConfiguration,
  readText,
} from "../config/load.ts";
import { type KeyPath, locateKeys } from "../config/key-locator.ts";
import { formatSize } from "../config/units.ts";
import type { ReloadReport } from "../control/control-api.ts";
import { messageOf } from "../errors.ts";
import { formatMac } from "../mac-address.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { interfaceNames, listInterfaces } from "./interfaces.ts";
import { octetsAsBase64 } from "./option-values.ts";
import { askServer } from "./control-client.ts";
import { describeReload } from "./reload.ts";
import { formatTable } from "./table.ts";
import { targetObstacle } from "./target-path.ts";

interface Findings {
  readonly configuration?: Configuration;
  readonly problems: readonly ConfigurationProblem[];
  /** What may be right on another machine or later. */
  readonly warnings: readonly string[];
}

/**
 * Prints what the file would serve, or every mistake in it.
 * @returns the exit code: 0 or 2
 * @throws UsageError when the file cannot be read
 */
export async function checkConfig(path: string, asJson: boolean): Promise<number> {
  const findings = examine(readText(path), path);
  const { configuration, problems, warnings } = findings;
  const isValid = problems.length === 0;
  const reload =
    isValid && configuration !== undefined ? await plannedReload(path, configuration) : null;
  if (asJson) {
    const answer = { valid: isValid, file: path, problems, warnings, reload, ...configuration };
    process.stdout.write(`${JSON.stringify(answer, jsonValue, 2)}\n`);
  } else {
    for (const problem of problems) process.stderr.write(`${formatProblem(problem, path)}\n`);
    for (const warning of warnings) process.stderr.write(`${path}: warning: ${warning}\n`);
    if (isValid && configuration !== undefined) process.stdout.write(summary(configuration, path));
    if (reload !== null) process.stdout.write(`\n${describePlan(reload)}`);
  }
  return isValid ? 0 : 2;
}

type PlannedReload = ReloadReport | { readonly refused: string };

/** What the server that runs from this file would do with it; null when there is none. */
async function plannedReload(
  path: string,
  { server }: Configuration,
): Promise<PlannedReload | null> {
  const { controlSocket: socket } = server;
  if (socket === undefined) return null;
  try {
    const { file } = await askServer<{ file: string | null }>(socket, "GET", "/v1/configuration");
    if (file === null || realpathSync(file) !== realpathSync(path)) return null;
  } catch {
    return null;
  }
  try {
    return await askServer<ReloadReport>(socket, "POST", "/v1/reload", { dryRun: true });
  } catch (error) {
    return { refused: messageOf(error) };
  }
}

function describePlan(plan: PlannedReload): string {
  if ("refused" in plan) return `the running server would refuse a reload: ${plan.refused}\n`;
  return `a reload of the running server:\n${describeReload(plan)}`;
}

function examine(text: string, path: string): Findings {
  let configuration: Configuration;
  try {
    configuration = parseConfiguration(text, path);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return { problems: error.problems, warnings: [] };
  }
  return {
    configuration,
    problems: obstacles(configuration, text),
    warnings: missingInterfaces(configuration),
  };
}

/** What would keep `serve` from starting on this machine. */
function obstacles({ server, targets }: Configuration, text: string): ConfigurationProblem[] {
  const positions = locateKeys(text);
  const problems: ConfigurationProblem[] = [];
  const problem = (place: KeyPath, message: string) =>
    problems.push({ ...positions.of(place), key: keyName(place), message });
  for (const [index, target] of targets.entries()) {
    const obstacle = targetObstacle(target, server.stateDirectory);
    if (obstacle !== undefined)
      problem(["target", index, ...obstacle.key.split(".")], obstacle.message);
  }
  return problems;
}

function missingInterfaces({ server }: Configuration): string[] {
  // A TAP interface that does not exist is made.
  if (server.port === "tap") return [];
  const present = interfaceNames();
  return server.interfaces
    .filter((name) => !present.includes(name))
    .map((name) => `interface ${name} does not exist; ${listInterfaces(present)}`);
}

function summary({ server, targets }: Configuration, path: string): string {
  const headings = ["TARGET", "BACKEND", "SIZE", "WRITES", "ALLOWED", "PATH"];
  return `${path}: valid
serves on ${server.interfaces.join(", ")} (port ${server.port}), state in ${server.stateDirectory}

${formatTable(headings, targets.map(targetRow))}`;
}

function targetRow(target: TargetConfiguration): string[] {
  return [
    targetName(target),
    target.backend,
    sizeOf(target),
    target.readOnly ? "refused" : target.durability,
    target.allow.length === 0 ? "everyone" : target.allow.map(formatMac).join(" "),
    sourceOf(target),
  ];
}

/** What is served: a path, or what of a store. */
function sourceOf({ path, cas }: TargetConfiguration): string {
  if (cas === undefined) return path === "" ? "-" : path;
  const part = cas.snapshot === undefined ? cas.volume : `snapshot ${cas.snapshot}`;
  return `${part} in ${cas.path ?? cas.blobStore}`;
}

function sizeOf({ lengthSectors, sizeBytes }: TargetConfiguration): string {
  if (lengthSectors !== undefined) return formatSize(lengthSectors * SECTOR_BYTES);
  return sizeBytes === undefined ? "as it is" : formatSize(sizeBytes);
}

/** Octets as base64, as `aoed status --json` has them. */
function jsonValue(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? octetsAsBase64(value) : value;
}
