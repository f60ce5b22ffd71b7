import { type Command, Option } from "commander";
import type { BenchCommandOptions } from "./bench.ts";
import { collect } from "./collect.ts";
import type { CopyCommandOptions } from "./copy.ts";
import type { DiscoverCommandOptions } from "./discover.ts";
import type { PingCommandOptions } from "./ping.ts";
import type { SancheckCommandOptions } from "./sancheck.ts";

/** The commands that are an initiator themselves, of any server, without the kernel's driver. */
export function addInitiatorCommands(program: Command): void {
  addDiscover(program);
  addPing(program);
  addSancheck(program);
  addCopy(program);
  addBench(program);
}

const INTERFACE = [
  "-i, --interface <name>",
  "interface to ask on; repeat; all when there is none",
] as const;

function addDiscover(program: Command): void {
  program
    .command("discover")
    .description("find the targets of a network, without the kernel driver")
    .option(...INTERFACE, collect)
    .option("--timeout <duration>", "how long answers are waited for", "1s")
    .option("--json", "answer in JSON")
    .addHelpText(
      "after",
      `
Example:
  sudo aoed discover --interface eth0`,
    )
    .action(async (options: DiscoverCommandOptions) => {
      const { discover } = await import("./discover.ts");
      await discover(options);
    });
}

function addPing(program: Command): void {
  program
    .command("ping")
    .description("measure how long a target takes to answer")
    .argument("<shelf.slot>", "target, such as 1.0")
    .option(...INTERFACE, collect)
    .option("-c, --count <number>", "how many requests", "4")
    .option("--interval <duration>", "time between two requests", "200ms")
    .option("--timeout <duration>", "how long each answer is waited for", "1s")
    .option("--identify", "ask the disk itself, not only the server")
    .option("--json", "answer in JSON")
    .addHelpText(
      "after",
      `
Exits with 1 when nobody answers.

Example:
  sudo aoed ping 1.0 --interface eth0 -c 10`,
    )
    .action(async (address: string, options: PingCommandOptions) => {
      const { ping } = await import("./ping.ts");
      process.exitCode = await ping(address, options);
    });
}

function addSancheck(program: Command): void {
  program
    .command("sancheck")
    .description("look for what is wrong between this machine and all targets")
    .option(...INTERFACE, collect)
    .option("--timeout <duration>", "how long answers to the broadcast are waited for", "1s")
    .option("--pings <number>", "requests to each target that measure loss and latency", "50")
    .option("--json", "answer in JSON")
    .addHelpText(
      "after",
      `
Finds two disks that answer for one address, frames that are too large for a switch on the way, loss,
servers with a smaller MTU than this machine, and addresses that Linux ignores. It changes nothing.
Exits with 1 when it found a problem, or nobody.

OUT is the largest packet that reaches the target, IN the most data that comes back in one.

Example:
  sudo aoed sancheck --interface eth0`,
    )
    .action(async (options: SancheckCommandOptions) => {
      const { sancheck } = await import("./sancheck.ts");
      process.exitCode = await sancheck(options);
    });
}

function addCopy(program: Command): void {
  program
    .command("copy")
    .description("copy a disk over the wire: to a file, from a file, or to another target")
    .argument("<source>", "target such as e1.0, image file or block device")
    .argument("<destination>", "target such as e1.0, file to make, or block device")
    .option(...INTERFACE, collect)
    .option("--verify", "read everything back and compare")
    .option("--overwrite", "take the place of a file that is there")
    .option("-y, --yes", "do not ask before a target or device loses what it holds")
    .option("--json", "answer in JSON")
    .addHelpText(
      "after",
      `
Zeros become holes in a new file, which is called <destination>.part until it is whole and on the
disk; what it replaces stays until then. A file that is named like a target is written "./e1.0". The
disk must not be in use: a copy of a mounted disk is no file system. Exits with 1 when the target
failed or what was written reads back differently.

Examples:
  sudo aoed copy e1.0 disk.img
  sudo aoed copy disk.img e1.1 --verify --interface eth0`,
    )
    .action(async (source: string, destination: string, options: CopyCommandOptions) => {
      const { copy } = await import("./copy.ts");
      process.exitCode = await copy(source, destination, options);
    });
}

function addBench(program: Command): void {
  program
    .command("bench")
    .description("load targets and measure operations, data and latency")
    .argument("<shelf.slot...>", "targets, such as 1.0; several are loaded at the same time")
    .option(...INTERFACE, collect)
    .option("--size <sizes>", "octets of a request; several with commas", "4KiB")
    .option("--window <numbers>", "requests under way; several with commas", "1,16,64")
    .addOption(
      new Option("--order <order>", "of the addresses")
        .choices(["random", "sequential", "both"])
        .default("random"),
    )
    .option("--load <kinds>", 'read, write, or shares such as "70/30"; several with commas', "read")
    .option("--range <size>", "use only the beginning of the disk")
    .option("--duration <duration>", "how long each load is measured", "5s")
    .option("--warmup <duration>", "how long it runs before that; 0 for not at all", "1s")
    .option("--seed <number>", "of the random addresses and contents", "1")
    .option("-y, --yes", "do not ask before writes destroy what the targets hold")
    .option("--json", "answer in JSON")
    .addHelpText(
      "after",
      `
A closed loop: each answer makes room for the next request. Latency is that of a request from the
first time it was sent, also when it was lost and sent again (RESENT, of all targets together).
Sizes above 1 KiB need jumbo frames. Compare only what the same machines did on the same day.

Examples:
  sudo aoed bench 1.0 --interface eth0 --size 1KiB
  sudo aoed bench 1.0 -i eth0 --size 4KiB,8KiB --window 64 --order both --duration 10s
  sudo aoed bench 1.1 -i eth0 --load 70/30 --range 1GiB --yes`,
    )
    .action(async (addresses: string[], options: BenchCommandOptions) => {
      const { bench } = await import("./bench.ts");
      process.exitCode = await bench(addresses, options);
    });
}
