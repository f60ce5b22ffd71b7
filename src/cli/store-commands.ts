import type { Command } from "commander";
import { addImageCommands } from "./image-commands.ts";
import type { CreateOptions, RollbackOptions } from "./snapshot.ts";
import type { StoreOptions } from "./store-access.ts";
import type { VerifyOptions } from "./verify.ts";
import type { CreateVolumeOptions, DeleteVolumeOptions } from "./volume.ts";

/** The commands that work on stores: snapshots, volumes, images, upkeep. */
export function addStoreCommands(program: Command): void {
  addSnapshot(program);
  addVolume(program);
  addImageCommands(program);
  addVerify(program);
  addGc(program);
}

const WHICH_STORE = `
With --store it works on that store: through the running server that has it open, else directly.
Without, it asks the server that runs here.`;

function storeCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option("--store <store>", "store to work on: its folder, or a file that says where it is")
    .option("--socket <path>", "control socket of the running server")
    .option("--json", "answer in JSON");
}

function addSnapshot(program: Command): void {
  const snapshot = program
    .command("snapshot")
    .description("keep, show, compare and bring back what volumes held")
    .addHelpText(
      "after",
      `${WHICH_STORE}
A volume is named by its name or by its target (e1.0), a snapshot by its id or by the beginning of
its root hash.

Examples:
  sudo aoed snapshot create e1.0 --description "before the upgrade"
  sudo aoed snapshot list
  sudo aoed snapshot rollback 1
  sudo aoed snapshot clone 1 before-upgrade`,
    );
  storeCommand(snapshot, "create", "take a snapshot of a volume, also while it is used")
    .argument("<volume>", "name of the volume, or its target")
    .option("-d, --description <text>", "why it is taken")
    .action(async (volume: string, options: CreateOptions) => {
      await (await import("./snapshot.ts")).createSnapshot(volume, options);
    });
  storeCommand(snapshot, "list", "list the snapshots of a volume, or of all")
    .argument("[volume]", "name of the volume, or its target")
    .action(async (volume: string | undefined, options: StoreOptions) => {
      await (await import("./snapshot.ts")).listSnapshots(volume, options);
    });
  storeCommand(snapshot, "show", "show everything about a snapshot")
    .argument("<snapshot>", "its id, or the beginning of its root hash")
    .action(async (reference: string, options: StoreOptions) => {
      await (await import("./snapshot.ts")).showSnapshot(reference, options);
    });
  storeCommand(snapshot, "delete", "delete snapshots")
    .argument("<snapshot...>", "their ids")
    .action(async (references: string[], options: StoreOptions) => {
      await (await import("./snapshot.ts")).deleteSnapshots(references, options);
    });
  addSnapshotContent(snapshot);
}

function addSnapshotContent(snapshot: Command): void {
  storeCommand(snapshot, "rollback", "give a volume the content of a snapshot")
    .argument("<snapshot>", "its id")
    .option("--volume <name>", "another volume than the one that it was taken of")
    .option("-y, --yes", "do not ask")
    .addHelpText(
      "after",
      `
What the volume holds now is kept as a snapshot; newer snapshots stay. Unmount the disk on every
client first: a mounted file system would write what it remembers over what came back.

Example:
  sudo aoed snapshot rollback 17`,
    )
    .action(async (reference: string, options: RollbackOptions) => {
      await (await import("./snapshot.ts")).rollback(reference, options);
    });
  storeCommand(snapshot, "clone", "make a new volume with the content of a snapshot")
    .argument("<snapshot>", "its id")
    .argument("<volume>", "name of the new volume")
    .addHelpText(
      "after",
      `
It takes no space until one of the two changes. Serve it with aoed target add.

Examples:
  sudo aoed snapshot clone 17 before-upgrade
  sudo aoed target add 1.5 --volume before-upgrade`,
    )
    .action(async (reference: string, volume: string, options: StoreOptions) => {
      await (await import("./snapshot.ts")).cloneSnapshot(reference, volume, options);
    });
  storeCommand(snapshot, "diff", "list the sectors that changed since a snapshot")
    .argument("<from>", "id of the snapshot")
    .argument("[to]", "id of another one; without: what the volume holds now")
    .action(async (from: string, to: string | undefined, options: StoreOptions) => {
      await (await import("./snapshot.ts")).diffSnapshots(from, to, options);
    });
  storeCommand(snapshot, "space", "show what belongs to each snapshot and volume alone").action(
    async (options: StoreOptions) => {
      await (await import("./snapshot.ts")).showSpace(options);
    },
  );
}

function addVolume(program: Command): void {
  const volume = program
    .command("volume")
    .description("list, make, enlarge and delete the volumes of a store")
    .addHelpText(
      "after",
      `${WHICH_STORE}

Examples:
  sudo aoed volume list
  sudo aoed volume create databases --size 100GiB
  sudo aoed volume resize e1.0 32GiB
  aoed volume list --store /data/aoe-store`,
    );
  storeCommand(volume, "list", "list the volumes").action(async (options: StoreOptions) => {
    await (await import("./volume.ts")).listVolumes(options);
  });
  storeCommand(volume, "create", "make a volume of zeros, which takes no space")
    .argument("<name>", "its name")
    .requiredOption("--size <size>", 'its size, such as "100GiB"')
    .option("--block-size <size>", "unit of deduplication, 512 to 64KiB; 4KiB by default")
    .action(async (name: string, options: CreateVolumeOptions) => {
      await (await import("./volume.ts")).createVolume(name, options);
    });
  storeCommand(volume, "resize", "make a volume larger, also while it is used")
    .argument("<volume>", "name of the volume, or its target")
    .argument("<size>", "its new size")
    .action(async (name: string, size: string, options: StoreOptions) => {
      await (await import("./volume.ts")).resizeVolume(name, size, options);
    });
  storeCommand(volume, "delete", "delete a volume; its snapshots stay")
    .argument("<volume>", "its name")
    .option("-y, --yes", "do not ask")
    .action(async (name: string, options: DeleteVolumeOptions) => {
      await (await import("./volume.ts")).deleteVolume(name, options);
    });
}

function addVerify(program: Command): void {
  storeCommand(program, "verify", "read a snapshot, or everything, and compare it with its hashes")
    .argument("[snapshot]", "its id; without: every blob of the store")
    .option("--rate <size>", "read at most so much in a second, such as 100MiB")
    .addHelpText(
      "after",
      `${WHICH_STORE}
Exits with 1 when something is damaged, and says what. A pass over the whole store that was
interrupted goes on where it was.

Examples:
  sudo aoed verify 17
  sudo aoed verify --rate 50MiB
  aoed verify --store /data/aoe-store`,
    )
    .action(async (snapshot: string | undefined, options: VerifyOptions) => {
      const { verify } = await import("./verify.ts");
      process.exitCode = await verify(snapshot, options);
    });
}

function addGc(program: Command): void {
  storeCommand(program, "gc", "give back the space of what no volume and no snapshot names")
    .addHelpText(
      "after",
      `${WHICH_STORE}
A running server does this by itself, unless its configuration says gc = "off".

Example:
  sudo aoed gc`,
    )
    .action(async (options: StoreOptions) => {
      await (await import("./gc.ts")).collectGarbage(options);
    });
}
