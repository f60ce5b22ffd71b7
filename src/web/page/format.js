/** Figures as people read them, and the few ways in which the page makes elements. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(octets) {
  let value = octets;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${digits(value, unit === 0)} ${UNITS[unit]}`;
}

export function rate(bytesPerSecond) {
  return `${bytes(bytesPerSecond)}/s`;
}

export function count(value) {
  if (value < 10_000) return String(Math.round(value));
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} k`;
  return value < 1e9 ? `${(value / 1e6).toFixed(1)} M` : `${(value / 1e9).toFixed(1)} G`;
}

export function duration(microseconds) {
  if (microseconds === null || microseconds === undefined) return "–";
  if (microseconds < 1000) return `${Math.round(microseconds)} µs`;
  const ms = microseconds / 1000;
  return ms < 1000 ? `${digits(ms, false)} ms` : `${digits(ms / 1000, false)} s`;
}

export function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

/** "2 h 5 min" */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function ago(isoTime, nowMs) {
  const seconds = (nowMs - Date.parse(isoTime)) / 1000;
  return seconds < 2 ? "now" : `${span(seconds)} ago`;
}

function digits(value, whole) {
  if (whole || value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** An element with text or children; text is never taken for markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/**
 * A table of `columns` ({title, number?, class?, cell: row => text or node}), or a line when there is no row.
 */
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return element("p", { class: "empty" }, empty);
  const head = columns.map(({ title, number }) =>
    element("th", { scope: "col", class: number ? "number" : "" }, title),
  );
  const body = rows.map((row) => element("tr", {}, ...columns.map((column) => cell(column, row))));
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      { "aria-label": caption },
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...body),
    ),
  );
}

function cell(column, row) {
  const content = column.cell(row);
  const classes = [column.number ? "number" : "", column.class ?? ""].join(" ").trim();
  return element(
    "td",
    { class: classes, "data-label": column.title },
    ...(Array.isArray(content) ? content : [content]),
  );
}
