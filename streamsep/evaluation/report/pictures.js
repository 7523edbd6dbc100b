// Pictures: spectrograms beside the truth with their difference, and attention maps.

function picture(name, alt) {
  const uri = assetUri(name, "image/webp");
  return uri ? make("img", { src: uri, alt }) : null;
}

const axis = (left, right) => make("div", { class: "axis" }, make("span", {}, left), make("span", {}, right));

function fillSpectrograms() {
  const song = songNow(), stem = state.stem, [start, length] = song.excerpt ?? [0, 0];
  const times = () => axis(`${show(start, 1)} s`, `${show(start + length, 1)} s`);
  const one = (name, place, score) => {
    const image = picture(`${state.song}/${place}/${stem}.webp`, `spectrogram of ${stem}, ${name}`);
    if (!image) return null;
    const apart = picture(`${state.song}/${place}/${stem}.difference.webp`, `difference of ${name} to the true ${stem}`);
    return make("figure", {}, make("figcaption", {}, place === "truth" ? null : swatch(name), name, make("small", {}, score)), image,
      apart, times());
  };
  const figures = [one("true stem", "truth", "")];
  SYSTEMS.forEach((system, index) => {
    const value = song.results[system]?.stems[stem]?.usdr;
    figures.push(one(system, index, finite(value) ? `SDR ${show(value, 1)} dB` : ""));
  });
  const shown = figures.filter(Boolean);
  fill("spectrograms",
    make("p", { class: "hint" }, shown.length
      ? `${stem} of ${song.name}: 40 Hz to half the rate, an octave as high as any other, 70 dB. Below, the difference to the truth: red is too much, blue too little, 30 dB either way.`
      : "No pictures of this song: the report shows the first songs alone, and as many as it has room for."),
    make("div", { class: "grid" }, ...shown));
}

function fillAttention() {
  const groups = [];
  SYSTEMS.forEach((system, index) => {
    const maps = songNow().results[system]?.excerpt?.attention ?? [];
    const figures = maps.flatMap((each) => {
      const about = `layer ${each.layer + 1}, head ${each.head + 1}`;
      const map = picture(`${state.song}/${index}/${each.file}`, `${each.direction}, ${about}`);
      const bands = each.bands && picture(`${state.song}/${index}/${each.bands}`, `bands heard, ${about}`);
      const caption = (text) => make("figcaption", {}, text, make("small", {}, about));
      return [
        map && make("figure", { class: "square" }, caption(each.direction), map, axis("0 s heard", `${show(each.seconds, 1)} s`)),
        bands && make("figure", { class: "square" }, caption("bands heard, by time"), bands, axis("0 s", `${show(each.seconds, 1)} s`)),
      ].filter(Boolean);
    });
    if (figures.length) groups.push(make("h3", {}, swatch(system), system), make("div", { class: "grid" }, ...figures));
  });
  $("attention").hidden = !groups.length;
  fill("attention", make("p", { class: "hint" },
    "Over the beginning of the excerpt. Each row is a moment that asks, downwards in time; each column a moment that is heard. " +
    "Nothing right of the diagonal: a causal model hears no future. Bands: low frequencies at the bottom."), ...groups);
}
