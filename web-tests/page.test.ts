import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { WatchedServer } from "../src/web/watched-server.testing.ts";
import { BlockOperation, BlockStatus } from "../src/storage/block-storage.ts";
import { Browser, type Look } from "./browser.ts";

const DESK: Look = { width: 1280, height: 900, scheme: "light" };
const NIGHT: Look = { ...DESK, scheme: "dark" };
const PHONE: Look = { width: 390, height: 844, scheme: "light" };

const MEMORY_DISK = `
[[target]]
shelf = 7
slot = 1
backend = "memory"
size = "1MiB"
`;

const browser = new Browser();
const servers: WatchedServer[] = [];

beforeAll(async () => browser.start());
afterAll(async () => browser.close());
afterEach(async () => {
  for (const server of servers.splice(0)) await server.remove();
  expect(browser.complaints.splice(0)).toEqual([]);
});

async function start(...options: Parameters<WatchedServer["start"]>): Promise<WatchedServer> {
  const server = new WatchedServer();
  servers.push(server);
  await server.start(...options);
  return server;
}

function addressOf(server: WatchedServer): string {
  return `http://127.0.0.1:${server.port}/`;
}

/** Reads and writes until `isDone`, so that there is something to see. */
async function load(server: WatchedServer, isDone: () => Promise<boolean>): Promise<void> {
  const disks = [await server.initiator.open(1, 0), await server.initiator.open(1, 1)];
  for (let round = 0; !(await isDone()); round++) {
    for (const disk of disks) {
      await disk.write((round * 16) % 4096, new Uint8Array(8192).fill(round));
      await disk.read(0, 16);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function samplesDrawn(page: Page): Promise<number> {
  const d = await page.locator("#throughput path.read").getAttribute("d");
  return (d ?? "").split("L").length;
}

test("shows targets, initiators and live charts, wide and narrow, light and dark", async () => {
  const server = await start();
  const page = await browser.open(addressOf(server), DESK);
  await load(server, async () => (await page.locator("#throughput path.read").count()) > 0);
  await load(server, async () => (await samplesDrawn(page)) > 6);

  const targets = page.getByRole("table", { name: "Targets" });
  for (const name of ["e1.0", "e1.1", "e1.2"]) {
    await targets.getByText(name, { exact: true }).waitFor();
  }
  await page.getByRole("table", { name: "Initiators" }).getByText("02:00:00:00:00:02").waitFor();
  const latency = page.getByRole("img", { name: /^Latency: reads \d/ });
  await latency.waitFor();
  await page.locator("#health", { hasText: /^Healthy$/ }).waitFor();
  await browser.picture(page, "desk-light");

  await page.selectOption("#chart-target", "e1.2");
  // Nobody has asked e1.2 for anything.
  await page.getByRole("img", { name: /^Latency: reads none/ }).waitFor();
  await page.selectOption("#chart-target", "");
  await page.close();

  for (const [name, look] of Object.entries({ night: NIGHT, phone: PHONE })) {
    const other = await browser.open(addressOf(server), look);
    // The history is there at once.
    await other.locator("#throughput path.read").waitFor();
    await other.getByRole("table", { name: "Targets" }).waitFor();
    const overflow = "document.documentElement.scrollWidth > window.innerWidth";
    expect(await other.evaluate(overflow), name).toBe(false);
    await browser.picture(other, name);
    await other.close();
  }
});

test("takes, clones and rolls back snapshots, and asks before it rolls back", async () => {
  const server = await start({ allowsControl: true });
  const disk = await server.initiator.open(1, 0);
  await disk.write(0, new Uint8Array(4096).fill(1));
  const page = await browser.open(addressOf(server), DESK);
  await page.getByText("No snapshot has been taken yet.").waitFor();

  await page.getByRole("button", { name: "Take a snapshot" }).click();
  await page.getByLabel("Description").fill("before <b>it</b> all");
  await browser.picture(page, "dialog-create");
  await page.getByRole("button", { name: "Take it" }).click();
  const snapshots = page.getByRole("table", { name: "Snapshots" });
  await snapshots.getByText("before <b>it</b> all").waitFor();
  await disk.write(0, new Uint8Array(4096).fill(2));

  await snapshots.getByRole("button", { name: /^Clone snapshot/ }).click();
  await page.getByLabel("Name of the new volume").fill("a name with spaces");
  await page.getByRole("button", { name: "Clone", exact: true }).click();
  await page.locator("#dialog-error").getByText("a name with spaces").waitFor();
  await browser.picture(page, "dialog-error");
  await page.getByLabel("Name of the new volume").fill("copy");
  await page.getByRole("button", { name: "Clone", exact: true }).click();
  await page.getByText("Volume copy made.").waitFor();

  await snapshots.getByRole("button", { name: /^Roll back/ }).click();
  const confirm = page.getByRole("button", { name: "Roll back", exact: true });
  expect(await confirm.isDisabled()).toBe(true);
  await page.keyboard.press("Escape");
  expect((await disk.read(0, 8))[0]).toBe(2);
  await snapshots.getByRole("button", { name: /^Roll back/ }).click();
  await page.getByLabel("Type e1.0 to confirm").fill("e1.0");
  await browser.picture(page, "dialog-rollback");
  await confirm.click();
  await page.getByText(/e1.0 is as it was/).waitFor();
  expect((await disk.read(0, 8))[0]).toBe(1);
  await snapshots.getByRole("row").nth(2).waitFor();
  await browser.picture(page, "snapshots");
  await page.close();
});

test("says so when the server is gone, and finds it again", async () => {
  const server = await start();
  const { port } = server;
  const page = await browser.open(addressOf(server), PHONE);
  await page.getByText("Healthy").waitFor();
  await server.stop();
  await page.getByText(/The server does not answer/).waitFor();
  await page.getByText("Not connected").waitFor();
  await browser.picture(page, "gone");
  await server.start({ port, targets: MEMORY_DISK });
  await page.getByText("Healthy").waitFor();
  await page.getByRole("table", { name: "Targets" }).getByText("e7.1", { exact: true }).waitFor();
  expect(await page.getByText(/The server does not answer/).isVisible()).toBe(false);
  await page.close();
});

test("tells what is wrong, and what there is not", async () => {
  const server = await start();
  const page = await browser.open(addressOf(server), NIGHT);
  await page.getByText("Nobody has asked for anything yet.").waitFor();
  await page.getByText("No snapshot has been taken yet.").waitFor();
  const disk = await server.initiator.open(1, 2);
  server.faulty?.faults.push({
    operation: BlockOperation.read,
    firstLba: 0,
    lastLba: 0,
    status: BlockStatus.unavailable,
  });
  await expect(disk.read(0, 8)).rejects.toThrow();
  await page.getByText("1 problem").waitFor();
  await page.getByText(/e1.2: the disk failed a request/).waitFor();
  await browser.picture(page, "problems");
  await page.close();
});
