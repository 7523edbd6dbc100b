// Tables in words and numbers: about, warnings, summary, differences, failures.

function fillAbout() {
  const songs = DATA.songs.length, minutes = DATA.songs.reduce((sum, song) => sum + song.seconds, 0) / 60;
  const part = DATA.seconds ? `the first ${DATA.seconds} s of each` : `${show(minutes, 1)} minutes`;
  $("about").textContent =
    `${SYSTEMS.length} systems on ${songs} ${songs === 1 ? "song" : "songs"} (${part}). Each ran on one thread of ` +
    `${DATA.machine.cpu}, ${DATA.processes} at a time; torch ${DATA.machine.torch}.` +
    (DATA.left_out ? ` ${DATA.left_out} sounds and pictures had no room here.` : "");
}

function fillWarnings() {
  const found = [];
  DATA.songs.forEach((song, index) => {
    for (const note of song.notes ?? []) found.push([song.name, "", note, index, null]);
    for (const system of SYSTEMS)
      for (const warning of song.results[system]?.warnings ?? []) found.push([song.name, system, warning.text, index, warning.stem]);
  });
  $("warnings").hidden = !found.length;
  const items = found.slice(0, 60).map(([song, system, text, index, stem]) =>
    make("li", { "data-kind": "warning", click: () => change(stem ? { song: index, stem } : { song: index }) },
      make("strong", {}, system ? `${system}` : song), ` on ${song}: ${text}`));
  fill("warnings", make("ul", { class: "plain" }, ...items),
    found.length > 60 ? make("p", { class: "hint" }, `and ${found.length - 60} more, in compare.csv`) : null);
}

/** The systems that no other one beats in a column. */
function best(values, more) {
  const known = values.filter(finite);
  return known.length ? (more ? Math.max(...known) : Math.min(...known)) : null;
}

function fillSummary() {
  const stems = stemsAndMean(), [label, unit, more] = MEASURES[state.measure];
  const value = (system, stem) => DATA.systems[system].scores[stem]?.[state.measure] ?? null;
  const top = Object.fromEntries(
    stems.map((stem) => [stem, best(SYSTEMS.filter((s) => !isFrame(s)).map((s) => value(s, stem)), more)]));
  const head = ["system", ...stems, "latency", "RTF", "memory", "songs"];
  const rows = SYSTEMS.map((system) => {
    const facts = DATA.systems[system], memory = facts.memory_mib?.peak;
    const cells = stems.map((stem) => {
      const figure = value(system, stem), wins = !isFrame(system) && finite(figure) && figure === top[stem];
      return make("td", { class: [wins && "best", stem === state.stem && "chosen"].filter(Boolean).join(" ") }, show(figure));
    });
    const costs = [
      isFrame(system) || facts.way === "stems" ? "–" : wait(facts.algorithmic_latency_ms),
      show(facts.real_time_factor), memory ? `${show(memory, 0)} MiB` : "–", String(facts.songs),
    ];
    return make("tr", { class: isFrame(system) ? "frame" : null },
      make("td", {}, swatch(system), system), ...cells, ...costs.map((text) => make("td", {}, text)));
  });
  const columns = head.map((name) => make("th", { class: name === state.stem ? "chosen" : null }, name));
  fill("summary",
    make("p", { class: "hint" }, `${label}${unit ? `, ${unit}` : ""}; ${more ? "more" : "less"} is better. ` +
      "In grey: oracle masks made from the truth, and what costs nothing."),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...columns)), make("tbody", {}, ...rows))),
    fullTable());
}

/** All measures of one stem, side by side. */
function fullTable() {
  const stem = state.stem in DATA.systems[SYSTEMS[0]].scores ? state.stem : "mean";
  const names = DATA.measures.filter((name) => SYSTEMS.some((s) => finite(DATA.systems[s].scores[stem]?.[name])));
  if (!names.length) return null;
  const head = make("tr", {}, make("th", {}, "system"), ...names.map((name) =>
    make("th", { title: MEASURES[name][3], class: name === state.measure ? "chosen" : null }, MEASURES[name][0])));
  const rows = SYSTEMS.map((system) => make("tr", { class: isFrame(system) ? "frame" : null },
    make("td", {}, swatch(system), system), ...names.map((name) =>
      make("td", { class: name === state.measure ? "chosen" : null }, show(DATA.systems[system].scores[stem]?.[name])))));
  return make("details", {}, make("summary", {}, `all measures of ${stem}`),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows))));
}

function fillDifferences() {
  const differences = songNow().differences ?? [];
  $("differences").hidden = !differences.length;
  const stems = DATA.sources;
  const rows = differences.map((each) => make("tr", {},
    make("td", {}, `${each.of} against ${each.against}`),
    ...stems.map((stem) => make("td", {}, each.stems[stem].sdr === null ? "silent" : show(each.stems[stem].sdr, 1))),
    make("td", {}, Math.max(...stems.map((stem) => each.stems[stem].max)).toExponential(1))));
  const head = ["", ...stems, "largest"].map((name) => make("th", {}, name));
  fill("differences",
    make("p", { class: "hint" }, "SDR in dB as if the second were the truth; 100 dB is nothing but rounding. " +
      "This needs no true stems."),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
}

function fillFailures() {
  $("failures").hidden = !DATA.failures.length;
  fill("failures", make("ul", { class: "plain" }, ...DATA.failures.map((each) =>
    make("li", {}, make("strong", {}, each.system ?? "the song"), ` on ${each.song}: ${each.reason}`))));
}
