import { Command, Option } from "commander";
import { LOG_LEVELS } from "../log/levels.ts";
import { DURABILITIES, PORT_KINDS } from "../config/configuration.ts";
import { VERSION } from "../server/version.ts";
import { collect } from "./collect.ts";
import type { ServeOptions } from "./serve-options.ts";
import type { ClearOptions, StateOptions } from "./state.ts";
import { addInitiatorCommands } from "./initiator-commands.ts";
import type { StatusOptions } from "./status.ts";
import { addStoreCommands } from "./store-commands.ts";
import type { ReloadOptions } from "./reload.ts";
import type {
  AddTargetOptions,
  ChangeOptions,
  ResizeTargetOptions,
  TargetOptions,
} from "./target.ts";

/**
 * The command line as a table. Each command's code is loaded when it is run, so that `--help` and
 * mistakes in the arguments are answered at once.
 */

function addServe(program: Command): void {
  program
    .command("serve")
    .description("export disks on one or more Ethernet interfaces")
    .option("-c, --config <file>", "configuration file (TOML)")
    .option("-i, --interface <name>", "interface to serve on; repeat for several", collect)
    .option(
      "-e, --export <shelf.slot=path>",
      "file, block device or store#volume to export; repeat",
      collect,
    )
    .option(
      "--size <size>",
      'with --export: size of a file or volume to create, such as "10GiB"; smaller volumes grow to it',
    )
    .option("--read-only", "with --export: refuse writes")
    .addOption(
      new Option("--durability <when>", "with --export: when a write is answered").choices(
        DURABILITIES.filter((durability) => durability !== "remote"),
      ),
    )
    .addOption(new Option("--port <kind>", "how frames are exchanged").choices(PORT_KINDS))
    .option("--workers <number>", "threads that the targets are spread over")
    .option("--state-dir <folder>", "where the targets' state is kept")
    .option("--pcap <file>", "write every frame received and sent to this file")
    .addOption(
      new Option("--log-level <level>", "least level that is logged")
        .choices(LOG_LEVELS)
        .default("info"),
    )
    .addHelpText(
      "after",
      `
Without --config and --export it serves a thin volume of 16 GiB as e1.0, kept in the store
./aoed-data/store (or the file ./aoed-data/e1.0.img, if an earlier version left one).

PATH is a file, a block device, or the folder of a store, then with the volume after a "#".

Examples:
  sudo aoed serve --interface eth0
  sudo aoed serve --interface eth0 --export 1.0=/data/disk.img --size 10GiB
  sudo aoed serve --interface eth0 --export 1.0=/dev/sdb --export 1.1=/dev/sdc --read-only
  sudo aoed serve --interface eth0 --export 1.0=/data/store#databases --size 100GiB
  sudo aoed serve --config /etc/aoed/aoed.toml`,
    )
    .action(async (options: ServeOptions) => {
      const { serve } = await import("./serve.ts");
      await serve(options);
    });
}

function addCheckConfig(program: Command): void {
  program
    .command("check-config")
    .description("check a configuration file and the paths that it names; changes nothing")
    .argument("<file>", "configuration file (TOML)")
    .option("--json", "answer in JSON")
    .addHelpText(
      "after",
      `
Prints what would be served, or every mistake as FILE:LINE:COLUMN: KEY: what to do; when a server
runs from the file, also what a reload would change.

Example:
  aoed check-config /etc/aoed/aoed.toml`,
    )
    .action(async (file: string, options: { json?: true }) => {
      const { checkConfig } = await import("./check-config.ts");
      process.exitCode = await checkConfig(file, options.json === true);
    });
}

function addStatus(program: Command): void {
  program
    .command("status")
    .description("show what a running server serves and how it fares")
    .option("--socket <path>", "control socket of the server")
    .option("-w, --watch", "show it live, until q is typed; lines without a terminal")
    .option("--interval <duration>", "with --watch: how often", "1s")
    .option("--json", "answer in JSON; with --watch one line each time")
    .addHelpText(
      "after",
      `
Examples:
  sudo aoed status
  sudo aoed status --watch
  sudo aoed status --json --socket /var/lib/aoed/control.sock`,
    )
    .action(async (options: StatusOptions) => {
      const { status } = await import("./status.ts");
      await status(options);
    });
}

function addState(program: Command): void {
  const state = program
    .command("state")
    .description(
      "show or clear what initiators left at a target: config string, mask, reservation",
    );
  const onTarget = (name: string, description: string): Command =>
    state
      .command(name)
      .description(description)
      .argument("<shelf.slot>", "target, such as 1.0")
      .option("--socket <path>", "control socket of the running server")
      .option("--state-dir <folder>", "folder of the state files, when no server runs")
      .option("--json", "answer in JSON");
  onTarget("show", "show the state of a target").action(
    async (address: string, options: StateOptions) => {
      const { showState } = await import("./state.ts");
      await showState(address, options);
    },
  );
  onTarget("clear", "empty parts of the state of a target")
    .option("--config-string", "empty the config string")
    .option("--mask", "empty the MAC mask list: every initiator is heard again")
    .option("--reservation", "release the target")
    .addHelpText(
      "after",
      `
Example: let everybody in again after a mask that locks out its own author
  sudo aoed state clear 1.0 --mask`,
    )
    .action(async (address: string, options: ClearOptions) => {
      const { clearState } = await import("./state.ts");
      await clearState(address, options);
    });
}

function addReload(program: Command): void {
  program
    .command("reload")
    .description("make a running server what its configuration file says by now")
    .option("--socket <path>", "control socket of the server")
    .option("--json", "answer in JSON")
    .addHelpText(
      "after",
      `
Targets are added, removed and changed; the others are not disturbed. When anything of the file cannot
be taken over, nothing is changed and the exit code is 2. SIGHUP does the same, and logs the outcome.
aoed check-config FILE shows before what would change.

Example:
  sudo aoed reload`,
    )
    .action(async (options: ReloadOptions) => {
      const { reload } = await import("./reload.ts");
      await reload(options);
    });
}

function addTarget(program: Command): void {
  const target = program
    .command("target")
    .description("list, add, change and remove the targets of a running server");
  const onServer = (name: string, description: string): Command =>
    target
      .command(name)
      .description(description)
      .option("--socket <path>", "control socket of the running server")
      .option("--json", "answer in JSON");
  onServer("list", "list what is served").action(async (options: TargetOptions) => {
    const { listTargets } = await import("./target.ts");
    await listTargets(options);
  });
  onServer("add", "serve one more disk")
    .argument("<shelf.slot>", "address, such as 1.1")
    .option("--file <path>", "file to serve; with --size it is made when it is missing")
    .option("--device <path>", "block device to serve")
    .option("--memory", "serve memory, which is lost at the end")
    .option("--volume <name>", "volume to serve; with --size it is made when it is missing")
    .option("--snapshot <id>", "snapshot to serve, read-only")
    .option("--store <folder>", "store that it is in, when the server has several or none")
    .option("--size <size>", 'size of what is made, such as "10GiB"')
    .option("--read-only", "refuse writes")
    .option("--direct", "go round the page cache")
    .addOption(
      new Option("--durability <when>", "when a write is answered").choices([
        "durable",
        "writeback",
      ]),
    )
    .option("--offset <size>", "where the disk begins in the file or device")
    .option("--length <size>", "how long the disk is")
    .option("--allow <mac>", "initiator that is heard; repeat", collect)
    .option("--wire-changes <list>", 'what initiators may change: "config,mask,reserve", or "none"')
    .option("--config-string <text>", "the AoE config string of a target that has none")
    .option("--save", "write it to the configuration file as well")
    .addHelpText(
      "after",
      `
It is served until it is removed or the server ends, unless it is saved.

Examples:
  sudo aoed target add 1.1 --file /data/scratch.img --size 10GiB
  sudo aoed target add 1.2 --device /dev/sdc --allow 52:54:00:12:34:56 --save

A clone beside the disk that it was made of:
  sudo aoed snapshot clone 3 before-upgrade
  sudo aoed target add 1.1 --volume before-upgrade`,
    )
    .action(async (address: string, options: AddTargetOptions) => {
      const { addTarget: add } = await import("./target.ts");
      await add(address, options);
    });
  onServer("remove", "stop serving a target; requests to it fail at once from then on")
    .argument("<shelf.slot>", "target, such as 1.1")
    .option("--save", "take it out of the configuration file as well")
    .addHelpText(
      "after",
      `
What is in flight is answered first. Unmount the disk before: its initiators get I/O errors from then on.

Example:
  sudo aoed target remove 1.1`,
    )
    .action(async (address: string, options: ChangeOptions) => {
      const { removeTarget } = await import("./target.ts");
      await removeTarget(address, options);
    });
  onServer("set", "change keys of a target in use")
    .argument("<shelf.slot>", "target, such as 1.1")
    .argument("<key=value...>", "keys as in the configuration file; KEY= takes one away")
    .option("--save", "write it to the configuration file as well")
    .addHelpText(
      "after",
      `
allow, wire_changes and config_string take effect at once. For the others the disk is closed and
opened again: its initiators wait for a moment.

Examples:
  sudo aoed target set 1.1 durability=writeback writeback_interval=250ms
  sudo aoed target set 1.1 'allow=["52:54:00:12:34:56"]' --save
  sudo aoed target set 1.0 cas.cache=1GiB allow=`,
    )
    .action(async (address: string, changes: string[], options: ChangeOptions) => {
      const { setTarget } = await import("./target.ts");
      await setTarget(address, changes, options);
    });
  onServer("resize", "give a disk in use another size; initiators are told")
    .argument("<shelf.slot>", "target, such as 1.1")
    .argument("<size>", 'new size, such as "20GiB"')
    .option("--shrink", "a smaller size is meant: what lies beyond it is lost")
    .option("--save", "write it to the configuration file as well")
    .addHelpText(
      "after",
      `
A device has the size of its medium, which is followed by itself.

Example:
  sudo aoed target resize 1.1 20GiB`,
    )
    .action(async (address: string, size: string, options: ResizeTargetOptions) => {
      const { resizeTarget } = await import("./target.ts");
      await resizeTarget(address, size, options);
    });
}

/** All commands, options and help texts: what runs, and what man page and completions are made of. */
export function buildProgram(): Command {
  const program = new Command("aoed")
    .description("Turns this machine into an ATA-over-Ethernet disk shelf.")
    .version(VERSION, "-V, --version")
    .helpCommand("help [command]", "show the help of a command")
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `
First steps, with the name of an interface of this machine (ip -brief link):
  sudo aoed serve --interface eth0      serves a thin volume as e1.0 until Ctrl-C
  sudo aoed status                      what it serves and how it fares
  sudo aoed discover                    on another machine: which disks there are

aoed COMMAND --help has the options and examples of each.`,
    )
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) });
  addServe(program);
  addCheckConfig(program);
  addInitiatorCommands(program);
  addStatus(program);
  addReload(program);
  addTarget(program);
  addState(program);
  addStoreCommands(program);
  return program;
}

/** "error: unknown option '--x'\n(Did you mean --y?)\n" → "aoed: unknown option '--x' (Did …)\n". */
function oneLine(text: string): string {
  const line = text
    .replace(/^error: /, "")
    .trim()
    .replaceAll(/\s*\n\s*/g, " ");
  return `aoed: ${line}\n`;
}
