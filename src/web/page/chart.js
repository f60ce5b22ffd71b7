/** A line chart in SVG: two series over the last minute, or five when there is as much. */

const LEAST_WIDTH = 260;
const HEIGHT = 190;
const LEFT = 66;
const RIGHT = 6;
const TOP = 10;
const BOTTOM = 22;
const SHORT_SPAN_MS = 60_000;
const LONG_SPAN_MS = 300_000;
const STEPS = 4;
/** A gap in the line: the server was away, or this page slept. */
const GAP_MS = 3500;

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A round figure that is not below `value`: a power of two, or 1, 2, 4, 5 or 8 times one of ten. */
function niceTop(value, least, binary) {
  if (value <= least) return least;
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const magnitude = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((step) => step * magnitude).find((top) => top >= value);
}

/**
 * @param points {atMs, read, write}, oldest first; null for what is not known
 * @param options {name, format, least: the top of an empty chart, binary: steps of powers of two,
 *   width: of the place where it is shown, so that its text is as large as the rest}
 */
export function chart(points, nowMs, { name, format, least, binary, width }) {
  const known = points
    .flatMap(({ read, write }) => [read, write])
    .filter((value) => value !== null);
  const highest = known.reduce((most, value) => Math.max(most, value), 0);
  const top = niceTop(highest, least, binary);
  const last = points.at(-1);
  const label =
    last === undefined
      ? `${name}: nothing yet`
      : `${name}: reads ${shown(last.read, format)}, writes ${shown(last.write, format)}; at most ${format(highest)} in five minutes`;
  const oldestMs = points.length === 0 ? 0 : nowMs - points[0].atMs;
  const frame = {
    width: Math.max(width, LEAST_WIDTH),
    spanMs: oldestMs > SHORT_SPAN_MS ? LONG_SPAN_MS : SHORT_SPAN_MS,
    top,
  };
  const viewBox = `0 0 ${frame.width} ${HEIGHT}`;
  const svg = shape("svg", { class: "chart", viewBox, role: "img", "aria-label": label });
  drawGrid(svg, frame, format);
  for (const series of ["read", "write"]) {
    const d = path(points, series, nowMs, frame);
    if (d !== "") svg.append(shape("path", { class: `series ${series}`, d }));
  }
  return svg;
}

function shown(value, format) {
  return value === null ? "none" : format(value);
}

function drawGrid(svg, frame, format) {
  for (let step = 0; step <= STEPS; step++) {
    const y = TOP + ((HEIGHT - TOP - BOTTOM) * step) / STEPS;
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: frame.width - RIGHT, y1: y, y2: y }));
    const value = (frame.top * (STEPS - step)) / STEPS;
    svg.append(shape("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, format(value)));
  }
  const marks = frame.spanMs === SHORT_SPAN_MS ? [60, 40, 20, 0] : [300, 200, 100, 0];
  for (const [index, seconds] of marks.entries()) {
    const anchor = index === 0 ? "start" : seconds === 0 ? "end" : "middle";
    const place = { x: xOf(seconds * 1000, frame), y: HEIGHT - 5, "text-anchor": anchor };
    svg.append(shape("text", place, seconds === 0 ? "now" : `−${seconds} s`));
  }
}

function xOf(ageMs, { width, spanMs }) {
  return LEFT + (width - LEFT - RIGHT) * (1 - ageMs / spanMs);
}

function path(points, series, nowMs, frame) {
  let d = "";
  let previousMs = -Infinity;
  for (const point of points) {
    const value = point[series];
    const ageMs = nowMs - point.atMs;
    if (value === null || ageMs > frame.spanMs || ageMs < -1000) continue;
    const y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / frame.top);
    const isNew = point.atMs - previousMs > GAP_MS;
    // A point alone is a dot.
    const place = `${xOf(Math.max(0, ageMs), frame).toFixed(1)} ${y.toFixed(1)}`;
    d += isNew ? `M${place}h0.1` : `L${place}`;
    previousMs = point.atMs;
  }
  return d;
}
