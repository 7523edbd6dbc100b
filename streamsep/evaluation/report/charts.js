// Plain charts as SVG: scales, axes, and the marks on them.

/** A straight scale from data to pixels, with round ticks. */
function scale(low, high, from, to) {
  if (low === high) [low, high] = [low - 1, high + 1];
  const place = (value) => from + ((value - low) / (high - low)) * (to - from);
  const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high + 1e-9 * step; at++) ticks.push(at * step);
  return { place, ticks, low, high, from, to };
}

/** A little room around the values of an axis. */
function span(values, room = 0.06) {
  const known = values.filter(finite);
  if (!known.length) return [0, 1];
  const low = Math.min(...known), high = Math.max(...known), more = Math.max((high - low) * room, 0.2);
  return [low - more, high + more];
}

/** An empty chart with axes; `x` and `y` are scales, `name` tells a reader who does not see it what it is. */
function chart(width, height, x, y, name, labels = ["", ""]) {
  const root = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": name });
  for (const at of y.ticks) {
    root.append(
      make("line", { class: "grid", x1: x.from, x2: x.to, y1: y.place(at), y2: y.place(at) }),
      make("text", { class: "tick", x: x.from - 6, y: y.place(at) + 4, "text-anchor": "end" }, tidy(at)));
  }
  for (const at of x.ticks)
    root.append(make("text", { class: "tick", x: x.place(at), y: y.from + 16, "text-anchor": "middle" }, x.text?.(at) ?? tidy(at)));
  root.append(
    make("text", { class: "tick", x: x.to, y: y.from + 32, "text-anchor": "end" }, labels[0]),
    make("text", { class: "tick", x: x.from - 6, y: y.to - 8, "text-anchor": "start" }, labels[1]));
  return root;
}

const tidy = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

/** A dot that says what it is when it is pointed at. */
function dot(x, y, fillColour, words, hollow = false) {
  return make("circle", { cx: x, cy: y, r: 5.5, fill: hollow ? "none" : fillColour, stroke: fillColour, "stroke-width": 2 },
    make("title", {}, words));
}

/** A line through points that may have gaps (null). */
function line(points, stroke) {
  let path = "", pen = "M";
  for (const point of points) {
    if (point === null) pen = "M";
    else {
      path += `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
      pen = "L";
    }
  }
  return make("path", { d: path || "M0 0", fill: "none", stroke, "stroke-width": 1.6, "stroke-linejoin": "round" });
}

/** Texts at a right edge, moved apart where they would touch. */
function labelColumn(entries, x, low, high) {
  const sorted = entries.sort((a, b) => a.y - b.y);
  let last = low - 14;
  for (const entry of sorted) last = entry.at = Math.max(entry.y, last + 14);
  const over = Math.max(0, last - high);
  return sorted.map((entry) => make("text", { x, y: entry.at - over + 4, style: { fill: entry.colour } }, entry.text));
}
