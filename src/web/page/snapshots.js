import { bytes, element, table } from "./format.js";
import { ask, change, state } from "./server.js";
import { targetName } from "./tables.js";

/** The list of snapshots, and the dialogs that take, clone and roll them back. */

const byId = (id) => document.getElementById(id);

export async function loadSnapshots() {
  try {
    const stores = state.overview.status.stores.map(({ path }) => path);
    const lists = await Promise.all(
      stores.map(async (store) => {
        const found = await ask(`v1/snapshots?store=${encodeURIComponent(store)}`);
        return found.map((snapshot) => ({ ...snapshot, store }));
      }),
    );
    state.snapshots = lists
      .flat()
      .toSorted((a, b) => Date.parse(b.timestamp) - Date.parse(a.timestamp));
    state.snapshotsError = undefined;
  } catch (error) {
    state.snapshotsError = error.message;
  }
}

/** Drawn anew only when something has changed: a button must not vanish under the pointer. */
export function drawSnapshots() {
  const { status, allowsControl } = state.overview;
  const place = byId("snapshots");
  const { snapshots, snapshotsError } = state;
  const key = JSON.stringify([
    snapshots.map(({ id, store }) => [id, store]),
    snapshotsError,
    allowsControl,
    volumesServed(),
  ]);
  if (place.dataset.key === key) {
    for (const button of place.querySelectorAll("button")) button.disabled = false;
    return;
  }
  place.dataset.key = key;
  if (snapshotsError !== undefined) {
    place.replaceChildren(
      element("p", { class: "error" }, `The snapshots cannot be listed: ${String(snapshotsError)}`),
    );
    return;
  }
  const columns = [
    { title: "Id", class: "strong", cell: ({ id }) => id },
    { title: "Volume", cell: ({ volume }) => volume },
    { title: "Taken", cell: ({ timestamp }) => new Date(timestamp).toLocaleString() },
    { title: "By", cell: ({ trigger }) => trigger },
    { title: "Size", number: true, cell: ({ size }) => bytes(size) },
    { title: "Description", class: "path", cell: ({ description }) => description || "–" },
  ];
  if (allowsControl) columns.push({ title: "", class: "buttons", cell: snapshotButtons });
  const empty =
    status.stores.length === 0
      ? "Snapshots are of volumes, and no target is one."
      : "No snapshot has been taken yet.";
  place.replaceChildren(table("Snapshots", columns, snapshots, empty));
}

function snapshotButtons(snapshot) {
  const clone = element(
    "button",
    { type: "button", "aria-label": `Clone snapshot ${snapshot.id}` },
    "Clone",
  );
  const back = element(
    "button",
    { type: "button", "aria-label": `Roll back to snapshot ${snapshot.id}` },
    "Roll back",
  );
  clone.addEventListener("click", () => askClone(snapshot));
  back.addEventListener("click", () => askRollback(snapshot));
  return [clone, back];
}

/** Targets that serve a volume: {target, volume, store}. */
export function volumesServed() {
  return state.overview.status.targets.flatMap((target) =>
    target.cas === null || target.cas.volume === null || target.storage.readOnly
      ? []
      : [{ target: targetName(target), volume: target.cas.volume, store: target.cas.store }],
  );
}

function askCreate() {
  openDialog({
    title: "Take a snapshot",
    text: "The volume is used on meanwhile. What an initiator has not written yet is not in it.",
    choice: [
      "Of",
      volumesServed().map(({ target, volume, store }) => ({
        text: `${target} (${volume})`,
        value: JSON.stringify({ volume, store }),
      })),
    ],
    input: ["Description", ""],
    confirm: "Take it",
    act: async (choice, description) => {
      const { volume, store } = JSON.parse(choice);
      const made = await change(`v1/snapshots?store=${encodeURIComponent(store)}`, {
        volume,
        description,
      });
      return `Snapshot ${made.id} taken.`;
    },
  });
}

function askClone(snapshot) {
  openDialog({
    title: `Clone snapshot ${snapshot.id}`,
    text: "A new writable volume with this content. It takes no space until it is changed; aoed target add serves it.",
    input: ["Name of the new volume", `${snapshot.volume}-${snapshot.id}`],
    confirm: "Clone",
    act: async (_, volume) => {
      await change(
        `v1/snapshots/${snapshot.id}/clone?store=${encodeURIComponent(snapshot.store)}`,
        { volume },
      );
      return `Volume ${volume} made.`;
    },
  });
}

function askRollback(snapshot) {
  const served = volumesServed().find(
    ({ volume, store }) => volume === snapshot.volume && store === snapshot.store,
  );
  const who =
    served === undefined
      ? ""
      : ` Unmount ${served.target} on every client first: a mounted file system is destroyed by it.`;
  openDialog({
    title: `Roll ${snapshot.volume} back to snapshot ${snapshot.id}?`,
    text: `Everything written since ${new Date(snapshot.timestamp).toLocaleString()} goes out of the volume; a safety snapshot keeps it.${who}`,
    input: [`Type ${snapshot.volume} to confirm`, ""],
    mustBe: snapshot.volume,
    confirm: "Roll back",
    isDangerous: true,
    act: async () => {
      const path = `v1/snapshots/${snapshot.id}/rollback?store=${encodeURIComponent(snapshot.store)}`;
      const { safety } = await change(path, { volume: snapshot.volume });
      return `${snapshot.volume} is as it was. Snapshot ${safety.id} holds what it held before.`;
    },
  });
}

/** What the dialog that is open does when it is confirmed, and when something is typed. */
let act = async () => "";
let checkInput = () => {};

function openDialog({ title, text, choice, input, confirm, mustBe, isDangerous, act: action }) {
  act = action;
  byId("dialog-title").textContent = title;
  byId("dialog-text").textContent = text;
  byId("dialog-choice-label").hidden = choice === undefined;
  if (choice !== undefined) {
    byId("dialog-choice-label").firstChild.textContent = choice[0];
    byId("dialog-choice").replaceChildren(
      ...choice[1].map(({ text: name, value }) => element("option", { value }, name)),
    );
  }
  byId("dialog-input-label").firstChild.textContent = input[0];
  const field = byId("dialog-input");
  field.value = input[1];
  const button = byId("dialog-confirm");
  button.textContent = confirm;
  button.className = isDangerous ? "danger" : "primary";
  const check = () => {
    button.disabled = mustBe !== undefined && field.value.trim() !== mustBe;
  };
  checkInput = check;
  check();
  byId("dialog-error").hidden = true;
  byId("dialog").showModal();
  field.focus();
}

async function confirmDialog(event) {
  event.preventDefault();
  const button = byId("dialog-confirm");
  if (button.disabled) return;
  button.disabled = true;
  try {
    const said = await act(byId("dialog-choice").value, byId("dialog-input").value.trim());
    byId("dialog").close();
    notice(said);
    await loadSnapshots();
    drawSnapshots();
  } catch (error) {
    byId("dialog-error").textContent = error.message;
    byId("dialog-error").hidden = false;
  }
  button.disabled = false;
}

let noticeTimer;

function notice(text) {
  const place = byId("notice");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    place.hidden = true;
  }, 6000);
}

/** Makes the buttons and the dialog work. */
export function connectDialogs() {
  byId("create").addEventListener("click", askCreate);
  byId("dialog-cancel").addEventListener("click", () => byId("dialog").close());
  byId("dialog-form").addEventListener("submit", confirmDialog);
  byId("dialog-input").addEventListener("input", () => checkInput());
}
