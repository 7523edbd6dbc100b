// The three plots: quality by latency, second by second, song by song.

function fillLatency() {
  const [label, unit] = MEASURES[state.measure], key = state.stem in DATA.systems[SYSTEMS[0]].scores ? state.stem : "mean";
  const rows = SYSTEMS.map((system) => ({ system, facts: DATA.systems[system], value: DATA.systems[system].scores[key]?.[state.measure] }))
    .filter((row) => finite(row.value));
  $("latency").hidden = !rows.length;
  if (!rows.length) return;
  const times = rows.map((row) => row.facts.algorithmic_latency_ms).filter((time) => time !== null && time > 0);
  const low = Math.log10(Math.min(5, ...times)), high = Math.log10(Math.max(2000, ...times)), width = 900, height = 380;
  const x = { ...scale(low, high, 60, 560), ticks: [5, 10, 20, 50, 100, 200, 500, 1000, 2000].map(Math.log10).filter((t) => t >= low && t <= high) };
  x.text = (at) => (at < 2.99 ? `${Math.round(10 ** at)} ms` : `${Math.round(10 ** (at - 3))} s`);
  const whole = 640, y = scale(...span(rows.map((row) => row.value)), height - 50, 30);
  const root = chart(width, height, { ...x, to: 690 }, y, "quality by latency", ["", `${label} of ${key}${unit ? `, ${unit}` : ""}`]);
  root.append(make("text", { class: "tick", x: whole, y: height - 34, "text-anchor": "middle" }, "whole song"));
  const labels = [];
  for (const { system, facts, value } of rows) {
    const words = `${system}: ${show(value)} ${unit}`, at = y.place(value);
    const time = facts.algorithmic_latency_ms;
    if (isFrame(system))
      root.append(make("line", { x1: 60, x2: 690, y1: at, y2: at, stroke: colour(system), "stroke-dasharray": "3 4" }, make("title", {}, words)));
    else root.append(dot(time === null ? whole : x.place(Math.log10(time)), at, colour(system), words, facts.way === "stems"));
    labels.push({ y: at, colour: colour(system), text: `${system} ${show(value, 1)}` });
  }
  root.append(...labelColumn(labels, 702, 30, height - 50));
  fill("latency", make("p", { class: "hint" }, "Dots are systems by algorithmic latency; dashed lines are oracles and baselines."), root);
}

const hidden = new Set();

/** Buttons that show and hide systems. */
function legend(systems, redraw) {
  return make("div", { class: "legend" }, ...systems.map((system) =>
    make("button", { "aria-pressed": String(!hidden.has(system)), style: { background: "transparent", color: "inherit" },
      click: () => { hidden.has(system) ? hidden.delete(system) : hidden.add(system); redraw(); } }, swatch(system), system)));
}

function fillSeconds() {
  const song = songNow(), curves = {};
  const names = new Set();
  for (const system of SYSTEMS) {
    const all = song.results[system]?.stems[state.stem]?.curves ?? {};
    Object.keys(all).forEach((name) => names.add(name));
    const curve = all[state.curve];
    if (curve?.some(finite)) curves[system] = curve;
  }
  const drawn = SYSTEMS.filter((system) => Object.hasOwn(curves, system)), shown = drawn.filter((system) => !hidden.has(system));
  const labels = { sdr: "SDR", si_sdr: "SI-SDR", lsd: "log-spectral distance", bss_sdr: "SDR (BSS eval)", bss_sir: "SIR", bss_sar: "SAR" };
  const choice = make("select", { "aria-label": "curve", change: (event) => change({ curve: event.target.value }) },
    ...[...names].map((name) => make("option", { value: name, selected: name === state.curve }, labels[name] ?? name)));
  if (!drawn.length) {
    fill("seconds", names.size ? choice : null, make("p", { class: "hint" },
      "No curve here: the true stem is silent or unknown, or this song is one that the report does not show in full."));
    return;
  }
  const width = 1100, height = 300, clip = (value) => Math.max(-25, Math.min(45, value));
  const x = scale(0, Math.max(...Object.values(curves).map((curve) => curve.length)), 50, width - 10);
  const y = scale(...span(shown.flatMap((system) => curves[system].filter(finite).map(clip))), height - 45, 24);
  const root = chart(width, height, x, y, "second by second", ["seconds", `${labels[state.curve] ?? state.curve} of ${state.stem}, dB`]);
  const [start, length] = song.excerpt;
  root.append(make("rect", { class: "excerpt", x: x.place(start), y: 24, width: Math.max(x.place(start + length) - x.place(start), 1), height: height - 69 },
    make("title", {}, "the excerpt that can be heard")));
  for (const system of shown)
    root.append(line(curves[system].map((value, at) => (finite(value) ? [x.place(at + 0.5), y.place(clip(value))] : null)), colour(system)));
  fill("seconds", choice, legend(drawn, fillSeconds), root);
}

function fillSongs() {
  const [label, unit] = MEASURES[state.measure];
  const value = (song, system) => song.results[system]?.stems[state.stem]?.[state.measure];
  const songs = DATA.songs.filter((song) => SYSTEMS.some((system) => finite(value(song, system))));
  $("songs").hidden = !songs.length;
  if (!songs.length) return;
  const shown = SYSTEMS.filter((system) => !hidden.has(system)), step = 22, width = 1100, height = songs.length * step + 70;
  const x = scale(...span(songs.flatMap((song) => shown.map((system) => value(song, system)))), 240, width - 20);
  const y = { place: (at) => 34 + at * step, ticks: [], from: height - 34, to: 30 };
  const root = chart(width, height, x, y, "song by song", [`${label} of ${state.stem}${unit ? `, ${unit}` : ""}`, ""]);
  songs.forEach((song, index) => {
    const at = y.place(index);
    root.append(make("line", { class: "grid", x1: x.from, x2: x.to, y1: at, y2: at }),
      make("text", { x: 228, y: at + 4, "text-anchor": "end" }, song.name.slice(0, 34)));
    for (const system of shown)
      if (finite(value(song, system)))
        root.append(dot(x.place(value(song, system)), at, colour(system), `${song.name}, ${system}: ${show(value(song, system))} ${unit}`, isFrame(system)));
  });
  fill("songs", legend(SYSTEMS, fillSongs), root);
}
