// Listening without knowing: a blind choice among all systems, and ABX between two; the votes are kept and shown.

const votes = [];
const test = { mode: "open", order: [], a: SYSTEMS[0], b: SYSTEMS[1] ?? SYSTEMS[0], x: null, letter: "A" };

const candidates = () => player.tracks.map((track) => track.id).filter((id) => SYSTEMS.includes(id));

/** Deal the systems to letters anew. */
function deal() {
  const ids = candidates();
  if (test.mode === "blind") {
    for (let i = ids.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [ids[i], ids[j]] = [ids[j], ids[i]];
    }
    test.order = ids;
  } else if (test.mode === "abx") {
    if (!ids.includes(test.a)) test.a = ids[0];
    if (!ids.includes(test.b) || test.b === test.a) test.b = ids.find((id) => id !== test.a) ?? test.a;
    test.x = Math.random() < 0.5 ? test.a : test.b;
    test.order = [test.a, test.b, test.x];
  }
  if (test.mode !== "open") hear(0);
}

const letters = () => (test.mode === "abx" ? ["A", "B", "X"] : test.order.map((_, index) => String.fromCharCode(65 + index)));

/** Hear what stands at a place: of the letters in a test, of all tracks otherwise. */
function hear(index) {
  if (test.mode === "open") {
    if (player.tracks[index]) player.choose(player.tracks[index].id);
  } else if (index < test.order.length) {
    test.letter = letters()[index];
    player.choose(test.order[index]);
  }
  drawPlayer();
}

function setMode(mode) {
  test.mode = mode;
  deal();
  drawPlayer();
}

/** Write a vote down and deal anew; while nothing can be heard there is nothing to vote for. */
function vote(fact) {
  if (!player.tracks.length) return;
  const song = songNow();
  votes.push({
    at: new Date().toISOString(), mode: test.mode, song: song.name, stem: state.stem, excerpt: song.excerpt,
    place: Number(player.position.toFixed(2)), level_matched: player.matched, ...fact,
  });
  deal();
  drawPlayer();
}

function voteBest() {
  if (test.mode !== "blind" || !test.order.length) return;
  vote({ among: [...test.order], letter: test.letter, best: test.order[letters().indexOf(test.letter)] });
}

function voteAbx(answer) {
  if (test.mode !== "abx" || test.a === test.b) return; // a system alone has nothing to be told from
  const is = answer === "A" ? test.a : test.b;
  vote({ a: test.a, b: test.b, answer, right: is === test.x });
}

/** Chance of as many right answers or more by guessing. */
function chance(right, total) {
  let sum = 0;
  for (let k = right; k <= total; k++) {
    let ways = 1;
    for (let i = 0; i < k; i++) ways = (ways * (total - i)) / (i + 1);
    sum += ways / 2 ** total;
  }
  return sum;
}

function tally() {
  const best = {}, abx = votes.filter((each) => each.mode === "abx");
  for (const each of votes.filter((one) => one.mode === "blind")) best[each.best] = (best[each.best] ?? 0) + 1;
  const words = Object.entries(best).sort((a, b) => b[1] - a[1]).map(([name, count]) => `${name}: ${count}`);
  if (abx.length) {
    const right = abx.filter((each) => each.right).length;
    words.push(`ABX: ${right} of ${abx.length} right, p = ${show(chance(right, abx.length), 3)}`);
  }
  return words.join("; ");
}

function saveVotes() {
  const blob = new Blob([JSON.stringify(votes, null, 1)], { type: "application/json" });
  const link = make("a", { href: URL.createObjectURL(blob), download: "votes.json" });
  link.click();
  URL.revokeObjectURL(link.href);
}

function drawVoting() {
  const parts = [];
  if (test.mode === "blind")
    parts.push(make("p", {}, "Which is the best? ", make("button", { id: "vote", click: voteBest }, `vote for ${test.letter} (Enter)`)));
  if (test.mode === "abx") {
    const pick = (key) => make("select", { "aria-label": `system ${key}`, change: (event) => { test[key] = event.target.value; deal(); drawPlayer(); } },
      ...candidates().map((id) => make("option", { value: id, selected: id === test[key] }, id)));
    parts.push(make("p", {}, "A is ", pick("a"), " and B is ", pick("b"), ". X is ",
      make("button", { id: "x-is-a", click: () => voteAbx("A") }, "A  ["), " ",
      make("button", { id: "x-is-b", click: () => voteAbx("B") }, "B  ]")));
  }
  if (votes.length)
    parts.push(make("p", {}, tally(), " ", make("button", { id: "save", click: saveVotes }, "save votes.json")),
      make("details", {}, make("summary", {}, `${votes.length} votes`), make("pre", { id: "votes" }, JSON.stringify(votes, null, 1))));
  $("voting").replaceChildren(...parts);
}
