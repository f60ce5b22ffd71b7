import { ago, bytes, count, element, percent, rate, table } from "./format.js";

/** The tables of the page, from what the server says of itself. */

const SHOWN_INITIATORS = 50;

export const targetName = ({ shelf, slot }) => `e${shelf}.${slot}`;

/** The counts of one kind of command over a target, in one line. */
function commandOf(target, name) {
  return target.commands.find(({ command }) => command === name);
}

export function targetsTable(status) {
  const commandCount = (name) => (target) => count(commandOf(target, name)?.answered ?? 0);
  return table(
    "Targets",
    [
      { title: "Target", class: "strong", cell: targetName },
      { title: "Size", number: true, cell: ({ storage }) => bytes(storage.sectors * 512) },
      {
        title: "Writes are",
        cell: ({ storage }) => (storage.readOnly ? "refused" : storage.durability),
      },
      { title: "Reads", number: true, cell: commandCount("read") },
      { title: "Writes", number: true, cell: commandCount("write") },
      {
        title: "Errors",
        number: true,
        cell: (target) => count(Object.values(target.errors).reduce((a, b) => a + b, 0)),
      },
      {
        title: "Now",
        number: true,
        cell: ({ rates }) => rate(rates.readBytes + rates.writtenBytes),
      },
      { title: "Cache hits", number: true, cell: ({ cas }) => hitRatio(cas) },
      { title: "Disk", class: "path", cell: ({ storage }) => storage.description },
    ],
    status.targets,
    "No target is served.",
  );
}

function hitRatio(cas) {
  if (cas === null || cas.cacheHits + cas.cacheMisses === 0) return "–";
  return percent(cas.cacheHits / (cas.cacheHits + cas.cacheMisses));
}

export function initiatorsTable(initiators) {
  const nowMs = Date.now();
  const shown = table(
    "Initiators",
    [
      { title: "MAC address", class: "strong", cell: ({ mac }) => mac },
      {
        title: "Now",
        number: true,
        cell: ({ rates }) => rate(rates.readBytes + rates.writtenBytes),
      },
      { title: "Requests", number: true, cell: ({ answered }) => count(answered) },
      { title: "Read", number: true, cell: ({ readBytes }) => bytes(readBytes) },
      { title: "Written", number: true, cell: ({ writtenBytes }) => bytes(writtenBytes) },
      { title: "Outstanding", number: true, cell: ({ outstanding }) => String(outstanding) },
      { title: "Sent again", number: true, cell: ({ retransmissions }) => count(retransmissions) },
      { title: "Last seen", number: true, cell: ({ lastSeen }) => ago(lastSeen, nowMs) },
    ],
    initiators.slice(0, SHOWN_INITIATORS),
    "Nobody has asked for anything yet.",
  );
  const more = initiators.length - SHOWN_INITIATORS;
  return more > 0 ? [shown, element("p", { class: "empty" }, `and ${more} more`)] : [shown];
}

export function storesTable(stores) {
  return table(
    "Stores",
    [
      { title: "Store", class: "path", cell: ({ path }) => path },
      { title: "Volumes", number: true, cell: ({ volumes }) => String(volumes) },
      { title: "Snapshots", number: true, cell: ({ snapshots }) => String(snapshots) },
      { title: "Blobs", number: true, cell: ({ blobs }) => count(blobs) },
      { title: "On disk", number: true, cell: ({ diskBytes }) => bytes(diskBytes) },
      {
        title: "Free",
        number: true,
        cell: ({ freeBytes }) => (freeBytes === null ? "–" : bytes(freeBytes)),
      },
      { title: "Deduplicated", number: true, cell: dedup },
    ],
    stores,
    "No target is a volume of a store.",
  );
}

function dedup({ receivedBytes, storedBytes }) {
  return storedBytes === 0 ? "–" : `${(receivedBytes / storedBytes).toFixed(2)}×`;
}

export function interfacesTable(ports) {
  const drops = ({ drops: counts }) => Object.values(counts).reduce((a, b) => a + b, 0);
  return table(
    "Interfaces",
    [
      { title: "Interface", class: "strong", cell: (port) => port.interface },
      { title: "Link", cell: ({ up }) => (up ? "up" : "down") },
      { title: "MTU", number: true, cell: ({ mtuBytes }) => String(mtuBytes) },
      { title: "MAC address", cell: ({ mac }) => mac },
      {
        title: "Received",
        number: true,
        cell: ({ statistics }) => count(statistics.receivedFrames),
      },
      { title: "Sent", number: true, cell: ({ statistics }) => count(statistics.sentFrames) },
      { title: "Not answered", number: true, cell: (port) => count(drops(port)) },
      {
        title: "Overruns",
        number: true,
        cell: ({ statistics }) => count(statistics.receiveOverruns),
      },
    ],
    ports,
    "No interface.",
  );
}
