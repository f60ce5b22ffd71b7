import type { Command } from "commander";
import type { ExportOptions } from "./export.ts";
import type { ImportOptions } from "./import.ts";
import type { TransferOptions } from "./transfer.ts";

/** The commands that bring disks into a store, out of it, and to another one. */
export function addImageCommands(program: Command): void {
  addImport(program);
  addExport(program);
  addSend(program);
  addReceive(program);
}

function withCommonOptions(command: Command): Command {
  return command
    .option("--socket <path>", "control socket of the running server")
    .option("--json", "answer in JSON");
}

function addImport(program: Command): void {
  const command = program
    .command("import")
    .description("make a volume, and a snapshot of it, of an image file or a block device")
    .argument("<image>", "file or block device")
    .option(
      "--into <store>",
      "the store (folder or file), made when it is missing; else the server's",
    )
    .requiredOption("--volume <name>", "name of the new volume")
    .option("--block-size <size>", "unit of deduplication, 512 to 64KiB; 4KiB by default");
  withCommonOptions(command)
    .addHelpText(
      "after",
      `
Zeros take no space, and what the store has already is not stored again. A running server that has the
store opens the image itself, as the user that it runs as.

Examples:
  aoed import disk.img --into /data/aoe-store --volume databases
  sudo aoed import /dev/sdb --volume old-disk`,
    )
    .action(async (image: string, options: ImportOptions) => {
      await (await import("./import.ts")).importImage(image, options);
    });
}

function addExport(program: Command): void {
  const command = program
    .command("export")
    .description("write a volume or a snapshot to a sparse image file")
    .argument("<what>", "name of a volume, its target, or a snapshot's id")
    .argument("<file>", "image file to make")
    .option("--from <store>", "the store (folder or file); else the server's")
    .option("--overwrite", "take the place of a file that is there");
  withCommonOptions(command)
    .addHelpText(
      "after",
      `
A running server that has the store makes the file itself, as the user that it runs as: the service of
the package may write in /var/lib/aoed, and in folders that are given to it. The file is called
<file>.part until it is whole and on the disk; what it replaces stays until then.

Examples:
  sudo aoed export e1.0 /var/lib/aoed/disk.img
  aoed export 17 --from /data/aoe-store disk.img`,
    )
    .action(async (what: string, file: string, options: ExportOptions) => {
      await (await import("./export.ts")).exportImage(what, file, options);
    });
}

const ABOUT_TRANSFERS = `
Only what the receiver lacks is moved. When it is interrupted, the next attempt finds what arrived.
At the end the receiver has the whole tree under the same root hash, which proves it equal.
`;

function addSend(program: Command): void {
  const command = program
    .command("send")
    .description("copy a snapshot to another store")
    .argument("<snapshot>", "its id")
    .requiredOption(
      "--to <store>",
      "the other store, made when it is missing: its folder, or a file that says where it is",
    )
    .option("--from <store>", "the store (folder or file) that has it; else the server's")
    .option("--volume <name>", "name of the volume at the receiver, when it is to be another");
  withCommonOptions(command)
    .addHelpText(
      "after",
      `${ABOUT_TRANSFERS}
Example:
  aoed send 17 --from /data/aoe-store --to /backup/aoe-store`,
    )
    .action(async (snapshot: string, options: TransferOptions) => {
      await (await import("./transfer.ts")).sendSnapshot(snapshot, options);
    });
}

function addReceive(program: Command): void {
  const command = program
    .command("receive")
    .description("fetch a snapshot from another store")
    .argument("<snapshot>", "its id in the other store")
    .requiredOption(
      "--from <store>",
      "the other store: its folder, or a file that says where it is",
    )
    .option("--to <store>", "the store (folder or file) that gets it; else the server's")
    .option("--volume <name>", "name of the volume at the receiver, when it is to be another");
  withCommonOptions(command)
    .addHelpText(
      "after",
      `${ABOUT_TRANSFERS}
Example:
  sudo aoed receive 17 --from /backup/aoe-store`,
    )
    .action(async (snapshot: string, options: TransferOptions) => {
      await (await import("./transfer.ts")).receiveSnapshot(snapshot, options);
    });
}
