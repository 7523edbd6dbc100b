// The player: all tracks of a stem run in step, and one of them is heard.

const player = {
  context: null, tracks: [], playing: false, offset: 0, started: 0, chosen: null, matched: true, buffers: new Map(), loading: 0,
  busy: false, again: false, // while tracks are brought in: whether they are to play then

  /** Seconds of the excerpt. */
  get duration() {
    return this.tracks[0]?.buffer.duration ?? 0;
  },

  /** Where the play head is, in seconds. */
  get position() {
    if (!this.playing) return this.offset;
    return (this.offset + Math.max(0, this.context.currentTime - this.started)) % (this.duration || 1);
  },

  /** Bring in the tracks of a song's stem; the place is kept if the song is the same. */
  async load(song, stem) {
    const turn = ++this.loading, sameSong = this.song === song, place = sameSong ? this.position : 0;
    this.again ||= this.playing;
    this.busy = true;
    this.stop();
    this.tracks = []; // nothing plays until the new ones are there: what was begun now could not be stopped
    this.context ??= new AudioContext();
    const wanted = trackList(song, stem).filter((track) => track.asset in ASSETS);
    const decoded = await Promise.all(wanted.map(async (track) => ({ ...track, buffer: await this.decode(track.asset) })));
    if (turn !== this.loading) return; // another stem was chosen meanwhile
    this.tracks = decoded;
    this.song = song;
    this.offset = Math.min(place, Math.max(0, this.duration - 0.05));
    if (!this.tracks.some((track) => track.id === this.chosen)) this.chosen = this.tracks[0]?.id ?? null;
    this.busy = false;
    if (this.again) this.play();
    this.again = false;
  },

  async decode(name) {
    if (!this.buffers.has(name)) {
      const text = atob(ASSETS[name]), bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
      this.buffers.set(name, await this.context.decodeAudioData(bytes.buffer));
    }
    return this.buffers.get(name);
  },

  /** Start all tracks at the same moment, all but one of them silent. */
  play() {
    if (this.playing || !this.tracks.length) return;
    this.context.resume();
    this.started = this.context.currentTime + 0.03;
    for (const track of this.tracks) {
      track.source = new AudioBufferSourceNode(this.context, { buffer: track.buffer, loop: true });
      track.volume = new GainNode(this.context, { gain: track.id === this.chosen ? this.gain(track) : 0 });
      track.source.connect(track.volume).connect(this.context.destination);
      track.source.start(this.started, this.offset);
    }
    this.playing = true;
  },

  stop() {
    if (!this.playing) return;
    this.offset = this.position;
    for (const track of this.tracks) {
      track.source.stop();
      track.volume.disconnect();
    }
    this.playing = false;
  },

  seek(seconds) {
    if (!this.tracks.length) return;
    const again = this.playing;
    this.stop();
    this.offset = ((seconds % this.duration) + this.duration) % this.duration || 0;
    if (again) this.play();
  },

  /** Hear another track from the same place on, with a fade of a few milliseconds. */
  choose(id) {
    if (!this.tracks.some((track) => track.id === id)) return;
    this.chosen = id;
    this.setVolumes();
  },

  setVolumes() {
    if (!this.playing) return;
    const now = this.context.currentTime;
    for (const track of this.tracks)
      track.volume.gain.setTargetAtTime(track.id === this.chosen ? this.gain(track) : 0, now, 0.004);
  },

  /** What a track is multiplied by: its level as it was, or brought to the loudness of the first track. */
  gain(track) {
    const target = this.tracks.find((each) => each.id === "truth") ?? this.tracks[0];
    if (!this.matched || !finite(track.lufs) || !finite(target.lufs)) return track.gain;
    const wanted = 10 ** (Math.max(-30, Math.min(20, target.lufs - track.lufs)) / 20);
    return track.gain * Math.min(wanted, Math.max(1, 1 / (track.peak || 1)));
  },
};

/** The tracks that a song has for a stem: the truth, the systems, the mixture. */
function trackList(song, stem) {
  const facts = DATA.songs[song], tracks = [];
  const add = (id, name, asset, sound) => sound && tracks.push({ id, name, asset, ...sound });
  add("truth", "true stem", `${song}/truth/${stem}.ogg`, facts.reference?.truth?.[stem]);
  SYSTEMS.forEach((system, index) =>
    add(system, system, `${song}/${index}/${stem}.ogg`, facts.results[system]?.excerpt?.stems[stem]));
  add("mixture-itself", "whole song", `${song}/truth/mixture.ogg`, facts.reference?.mixture?.mixture);
  return tracks;
}
