import { join, resolve } from "node:path";

export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
}

const SYSTEM_STATE_DIRECTORY = "/var/lib/aoed";
/** Where a socket is that others than its owner may open, if the configuration says so. */
const SYSTEM_RUNTIME_DIRECTORY = "/run/aoed";

/**
 * Where state is kept when nothing says so. Under systemd it is the unit's StateDirectory; a
 * server that root runs from a configuration file is a service of the machine; everything else is
 * a trial, and keeps to the folder it was started in.
 */
export function defaultStateDirectory(
  hasConfigurationFile: boolean,
  { environment, isRoot }: Surroundings = { environment: process.env, isRoot: runsAsRoot() },
): string {
  // systemd lists several separated by ":"; the first is the unit's own.
  const ofUnit = environment["STATE_DIRECTORY"]?.split(":", 1)[0];
  if (ofUnit !== undefined && ofUnit !== "") return resolve(ofUnit);
  return hasConfigurationFile && isRoot ? SYSTEM_STATE_DIRECTORY : resolve("aoed-data");
}

function runsAsRoot(): boolean {
  return process.getuid?.() === 0;
}

export function controlSocketIn(stateDirectory: string): string {
  return join(stateDirectory, "control.sock");
}

/** Where a running server may listen when nobody says where, best guess first. */
export function likelyControlSockets(): string[] {
  const folders = [
    defaultStateDirectory(false),
    defaultStateDirectory(true),
    SYSTEM_STATE_DIRECTORY,
    SYSTEM_RUNTIME_DIRECTORY,
  ];
  return [...new Set(folders)].map(controlSocketIn);
}
