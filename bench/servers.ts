import { basename, join } from "node:path";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { flags, run } from "./child-process.ts";
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
  /** Blocks have to come from the disk. */
  readonly isCold: boolean;
  /** A directory of the server's own, for what it keeps beside the image. */
  readonly workDirectory: string;
}

export interface ServerKind {
  readonly name: string;
  /** What the figures of the others are held against, or what they are held against. */
  readonly role: "candidate" | "peer" | "limit";
  takesPart(suite: Suite): boolean;
  /** No server: a program that puts the same load on the image itself (`measureFio`). */
  readonly isLocal?: boolean;
  /** Before it is started: makes what it serves of the image. */
  prepare?(assignment: Assignment): Promise<void>;
  command(assignment: Assignment): string[];
  /** What holds the disk, instead of the image. */
  files?(assignment: Assignment): string[];
  /** Keeps blocks in memory of its own: hot means that they are there. */
  readonly hasCache?: boolean;
}

/** aoed with a configuration file, as people run it. */
export function aoed(root: string): ServerKind {
  return {
    name: "aoed",
    role: "candidate",
    takesPart: () => true,
    command: (assignment) => serveAoed(root, assignment, []),
  };
}

/** aoed with lines of its own in [server]; beside the others where ways to the wire are compared. */
export function aoedWith(root: string, name: string, serverLines: string[]): ServerKind {
  return {
    name: `aoed ${name}`,
    role: "peer",
    takesPart: ({ comparesPorts }) => comparesPorts,
    command: (assignment) => serveAoed(root, assignment, serverLines),
  };
}

function serveAoed(root: string, assignment: Assignment, serverLines: string[]): string[] {
  mkdirSync(assignment.workDirectory, { recursive: true });
  const path = join(assignment.workDirectory, "aoed.toml");
  writeFileSync(path, aoedConfiguration(assignment, serverLines));
  return [join(root, "bin/aoed"), "serve", "--config", path];
}

export function aoedConfiguration(assignment: Assignment, serverLines: string[] = []): string {
  const { path, medium, mode } = assignment;
  return [
    ...headOf(assignment, serverLines),
    `backend = "${medium === "loop" ? "device" : "file"}"`,
    `path = ${JSON.stringify(path)}`,
    `direct = ${mode.startsWith("direct")}`,
    `durability = "${mode.endsWith("durable") ? "durable" : "writeback"}"`,
    "",
  ].join("\n");
}

function headOf(assignment: Assignment, serverLines: string[] = []): string[] {
  const { interfaceName, shelf, slot, workDirectory } = assignment;
  return [
    "[server]",
    `interface = ${JSON.stringify(interfaceName)}`,
    `state_dir = ${JSON.stringify(join(workDirectory, "state"))}`,
    ...serverLines,
    "",
    "[[target]]",
    `shelf = ${shelf}`,
    `slot = ${slot}`,
  ];
}

const VOLUME = "bench";

/** aoed with a volume of a content-addressed store, which the image was imported into. */
export function aoedVolume(root: string): ServerKind {
  const storeOf = ({ workDirectory }: Assignment): string => join(workDirectory, "store");
  const program = join(root, "bin/aoed");
  return {
    name: "aoed cas",
    role: "peer",
    takesPart: ({ medium }) => medium === "cas",
    hasCache: true,
    prepare: async (assignment) => {
      const store = storeOf(assignment);
      if (existsSync(store)) return;
      mkdirSync(store, { recursive: true });
      await run(program, "import", assignment.path, "--into", store, "--volume", VOLUME);
    },
    command: (assignment) => {
      const path = join(assignment.workDirectory, "aoed.toml");
      writeFileSync(path, volumeConfiguration(assignment, storeOf(assignment)));
      return [program, "serve", "--config", path];
    },
    files: (assignment) => {
      const store = storeOf(assignment);
      return readdirSync(store)
        .filter((name) => name.startsWith("segment-"))
        .map((name) => join(store, name));
    },
  };
}

/** A cache for all of the image where it is hot, and for next to nothing where it is cold. */
export function volumeConfiguration(assignment: Assignment, store: string): string {
  const { mode, isCold, sizeMebibytes } = assignment;
  return [
    ...headOf(assignment),
    'backend = "cas"',
    `durability = "${mode.endsWith("durable") ? "durable" : "writeback"}"`,
    "",
    "[target.cas]",
    `path = ${JSON.stringify(store)}`,
    `volume = "${VOLUME}"`,
    `cache = "${isCold ? 8 : 2 * sizeMebibytes}MiB"`,
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

/** fio with io_uring on the image, past the page cache: what the disk gives without a network. */
export function fio(): ServerKind {
  return {
    name: "fio",
    role: "limit",
    isLocal: true,
    takesPart: ({ medium, mode }) => medium === "file" && mode.startsWith("direct"),
    command: () => [],
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
