import { basename, join } from "node:path";
import { mkdirSync, writeFileSync } from "node:fs";
import { flags } from "./child-process.ts";
import type { Medium, Mode, Suite } from "./suites.ts";

/** Where a server finds what it serves, and how it shall serve it. */
export interface Assignment {
  readonly interfaceName: string;
  readonly shelf: number;
  readonly slot: number;
  readonly path: string;
  readonly medium: Medium;
  readonly mode: Mode;
  readonly sizeMebibytes: number;
  /** A directory of the server's own, for what it keeps beside the image. */
  readonly workDirectory: string;
}

export interface ServerKind {
  readonly name: string;
  /** What the figures of the others are held against, or what they are held against. */
  readonly role: "candidate" | "peer" | "limit";
  takesPart(suite: Suite): boolean;
  command(assignment: Assignment): string[];
}

/**
 * aoed with a configuration file, as people run it. A CAS volume is one more kind of `backend` here
 * and a suite of its own in suites.ts; for its cold cache the server has to be started anew,
 * because it keeps blocks in its own memory.
 */
export function aoed(root: string): ServerKind {
  return {
    name: "aoed",
    role: "candidate",
    takesPart: () => true,
    command: (assignment) => {
      mkdirSync(assignment.workDirectory, { recursive: true });
      const path = join(assignment.workDirectory, "aoed.toml");
      writeFileSync(path, aoedConfiguration(assignment));
      return [join(root, "bin/aoed"), "serve", "--config", path];
    },
  };
}

export function aoedConfiguration(assignment: Assignment): string {
  const { interfaceName, shelf, slot, path, medium, mode, workDirectory } = assignment;
  return [
    "[server]",
    `interface = ${JSON.stringify(interfaceName)}`,
    `state_dir = ${JSON.stringify(join(workDirectory, "state"))}`,
    "",
    "[[target]]",
    `shelf = ${shelf}`,
    `slot = ${slot}`,
    `backend = "${medium === "loop" ? "device" : "file"}"`,
    `path = ${JSON.stringify(path)}`,
    `direct = ${mode.startsWith("direct")}`,
    `durability = "${mode.endsWith("durable") ? "durable" : "writeback"}"`,
    "",
  ].join("\n");
}

const VBLADE_FLAG: Record<Mode, readonly string[]> = {
  buffered: [],
  direct: ["-d"],
  durable: ["-s"],
  "direct-durable": ["-d", "-s"],
};

/** vblade with as many buffers as the widest window needs; its default is 16. */
export function vblade(): ServerKind {
  return {
    name: "vblade",
    role: "peer",
    takesPart: () => true,
    command: ({ mode, shelf, slot, interfaceName, path }) => {
      const address = [String(shelf), String(slot), interfaceName];
      return ["vblade", "-b", "64", ...VBLADE_FLAG[mode], ...address, path];
    },
  };
}

/** Answers from memory and does nothing else: the limit of the machine. */
export function nullTarget(program: string): ServerKind {
  return {
    name: "null target",
    role: "limit",
    takesPart: ({ medium }) => medium === "memory",
    command: ({ interfaceName, shelf, slot, sizeMebibytes }) => {
      const served = { interface: interfaceName, shelf, slot, mebibytes: sizeMebibytes };
      return [program, ...flags(served)];
    },
  };
}

/**
 * A server of the user's own, from a command line with {interface}, {path}, {shelf} and {slot}. With
 * {mode} in it (buffered, direct, durable or direct-durable) it takes part in every suite, else in
 * the buffered ones.
 */
export function peerFromTemplate(template: string): ServerKind {
  return {
    name: `PEER ${basename(template.trim().split(/\s+/, 1)[0])}`,
    role: "peer",
    takesPart: ({ mode }) => mode === "buffered" || template.includes("{mode}"),
    command: ({ interfaceName, path, shelf, slot, mode }) => {
      const values: Record<string, string> = {
        interface: interfaceName,
        path,
        shelf: String(shelf),
        slot: String(slot),
        mode,
      };
      const line = template.replaceAll(
        /\{(interface|path|shelf|slot|mode)\}/g,
        (_, key: string) => values[key],
      );
      return ["sh", "-c", `exec ${line}`];
    },
  };
}
