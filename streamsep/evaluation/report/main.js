// Puts the page together: the bar on top, the player's controls, the keys.

function drawPlayer() {
  if (!player.tracks.length) {
    const any = trackList(state.song, state.stem).some((track) => track.asset in ASSETS);
    $("player").replaceChildren(make("p", { class: "hint" }, any ? "" : "No sound of this song in the report."),
      ...(any ? [make("button", { id: "load", click: loadAndPlay }, "load the sound (space)")] : []));
    $("voting").replaceChildren();
    return;
  }
  const open = test.mode === "open";
  const names = open ? player.tracks.map((track) => track.name) : letters();
  const pressed = (index) => (open ? player.tracks[index].id === player.chosen : letters()[index] === test.letter);
  const buttons = names.map((name, index) => make("button", {
    class: "track", "data-track": open ? player.tracks[index].id : name, "aria-pressed": String(pressed(index)), click: () => hear(index),
  }, make("kbd", {}, String(index + 1)), " ", open && SYSTEMS.includes(player.tracks[index].id) ? swatch(player.tracks[index].id) : null, name));
  const modes = [["open", "open"], ["blind", "blind"], ["abx", "ABX"]].map(([mode, text]) =>
    make("button", { "data-mode": mode, "aria-pressed": String(test.mode === mode), click: () => setMode(mode) }, text));
  const range = make("input", { type: "range", id: "place", min: 0, max: player.duration, step: 0.01, value: player.position,
    "aria-label": "place", input: (event) => player.seek(Number(event.target.value)) });
  $("player").replaceChildren(
    make("div", { class: "transport" },
      make("button", { id: "play", click: toggle }, player.playing ? "pause" : "play"),
      range, make("span", { class: "clock", id: "clock" }),
      make("button", { id: "matched", "aria-pressed": String(player.matched), click: toggleMatched }, "level-matched"),
      ...modes),
    make("div", { class: "tracks" }, ...buttons));
  drawVoting();
  tick();
}

function tick() {
  if (!$("clock")) return;
  $("clock").textContent = `${show(player.position, 1)} / ${show(player.duration, 1)} s`;
  if (document.activeElement !== $("place")) $("place").value = player.position;
}

async function loadAndPlay() {
  player.again = true;
  await player.load(state.song, state.stem);
  deal();
  drawPlayer();
}

function toggle() {
  if (player.busy) player.again = !player.again;
  else if (!player.tracks.length) return loadAndPlay();
  else player.playing ? player.stop() : player.play();
  drawPlayer();
}

function toggleMatched() {
  player.matched = !player.matched;
  player.setVolumes();
  drawPlayer();
}

async function followState(values) {
  if (!("song" in values || "stem" in values)) return;
  if (player.tracks.length || player.busy) {
    await player.load(state.song, state.stem);
    deal();
  }
  drawPlayer();
}

function nextStem(step) {
  const at = DATA.sources.indexOf(state.stem) + step, count = DATA.sources.length;
  change({ stem: DATA.sources[(at + count) % count] });
}

const KEYS = [
  [" ", "space", "play and pause", toggle],
  ["ArrowLeft", "←", "two seconds back", () => player.seek(player.position - 2)],
  ["ArrowRight", "→", "two seconds on", () => player.seek(player.position + 2)],
  ["ArrowUp", "↑", "the stem before", () => nextStem(-1)],
  ["ArrowDown", "↓", "the next stem", () => nextStem(1)],
  ["l", "L", "level-matched by loudness, or as they are", toggleMatched],
  ["o", "O", "open: tracks have their names", () => setMode("open")],
  ["b", "B", "blind: letters in a new order after every vote", () => setMode("blind")],
  ["x", "X", "ABX: is X the same as A or as B?", () => setMode("abx")],
  ["Enter", "Enter", "blind: vote for the letter that is heard", voteBest],
  ["[", "[", "ABX: X is A", () => voteAbx("A")],
  ["]", "]", "ABX: X is B", () => voteAbx("B")],
];

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, textarea")) return;
  if (event.key === "Enter" && event.target.matches("button")) return;
  const digit = "1234567890".indexOf(event.key);
  const entry = KEYS.find(([key]) => key === (event.key.length === 1 ? event.key.toLowerCase() : event.key));
  if (digit < 0 && !entry) return;
  event.preventDefault();
  if (document.activeElement?.matches("button, input")) document.activeElement.blur();
  digit >= 0 ? hear(digit) : entry[3]();
}

function fillKeys() {
  const rows = [["1 to 9", "hear that track from the same place on"], ...KEYS.map(([, sign, meaning]) => [sign, meaning])];
  fill("keys", make("dl", {}, ...rows.flatMap(([sign, meaning]) => [make("dt", {}, make("kbd", {}, sign)), make("dd", {}, meaning)])));
}

function fillBar() {
  const choose = (id, entries, now, then) => {
    $(id).replaceChildren(...entries.map(([value, text]) => make("option", { value, selected: String(value) === String(now) }, text)));
    $(id).addEventListener("change", (event) => then(event.target.value));
  };
  choose("song", DATA.songs.map((song, index) => [index, song.name]), state.song, (value) => change({ song: Number(value) }));
  choose("stem", DATA.sources.map((stem) => [stem, stem]), state.stem, (stem) => change({ stem }));
  const known = DATA.measures.filter((name) => SYSTEMS.some((system) => "mean" in DATA.systems[system].scores && finite(DATA.systems[system].scores.mean[name])));
  if (!known.includes(state.measure)) state.measure = known[0] ?? "usdr";
  choose("measure", known.map((name) => [name, MEASURES[name][0]]), state.measure, (measure) => change({ measure }));
}

function drawAll() {
  $("song").value = state.song;
  $("stem").value = state.stem;
  $("meaning").textContent = MEASURES[state.measure][3];
  for (const draw of [fillSummary, fillLatency, fillSeconds, fillSongs, fillDifferences, fillSpectrograms, fillAttention]) draw();
}

fillBar();
fillAbout();
fillWarnings();
fillFailures();
fillKeys();
drawAll();
drawPlayer();
watch(drawAll);
watch(followState);
document.addEventListener("keydown", onKey);
setInterval(tick, 100);
