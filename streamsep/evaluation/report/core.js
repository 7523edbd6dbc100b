"use strict";
// What all parts of the page share: the data, the state, and making elements.

const DATA = JSON.parse(document.getElementById("data").textContent);
const ASSETS = JSON.parse(document.getElementById("assets").textContent);
const SYSTEMS = DATA.order; // not Object.keys, which puts names that are numbers first
const COLOURS = [
  "#2f6fb7", "#d1651f", "#2f9361", "#b23a48", "#7a57b8", "#8a6d2f", "#178f9c", "#c24f91", "#5d6b7a", "#8aa11c",
];
const FRAMES = ["irm", "ibm", "psm", "magnitude", "mwf", "gain", "mixture", "silence"]; // what frames a comparison, no contestant
// name -> [label, unit, whether more is better, meaning]
const MEASURES = {
  usdr: ["SDR, whole song", "dB", true, "energy of the stem over that of the error, over the whole song (uSDR)"],
  sdr: ["SDR (BSS eval v4)", "dB", true, "median over seconds, then over songs, as the separation campaigns give it"],
  sir: ["SIR", "dB", true, "how little of the other stems is in it"],
  sar: ["SAR", "dB", true, "how little is in it that is in no stem"],
  isr: ["ISR", "dB", true, "how right its place and colour are"],
  si_sdr: ["SI-SDR", "dB", true, "SDR that forgives a wrong volume"],
  baseline_sdr: ["best constant gain", "dB", true, "SDR of the mixture at the best volume: what no separation reaches"],
  lsd: ["log-spectral distance", "dB", false, "mean distance of the spectra"],
  leakage: ["leakage", "dB", false, "level against the mixture while the true stem is silent"],
  stereo_level: ["stereo level error", "dB", false, "distance of the balance between left and right"],
  stereo_correlation: ["stereo width error", "", false, "distance of the correlation of left and right"],
  loudness_error: ["loudness error", "LU", false, "distance in loudness from the true stem"],
  seam: ["seam", "dB", false, "roughness where chunks meet against elsewhere; 0 is none"],
};

const state = { song: 0, stem: DATA.sources[0], measure: "usdr", curve: "sdr", heard: null };
const watchers = [];

/** Call `watcher(changes)` whenever the state changes. */
function watch(watcher) {
  watchers.push(watcher);
}

/** Change the state and redraw what depends on it. */
function change(values) {
  Object.assign(state, values);
  for (const watcher of watchers) watcher(values);
}

const $ = (id) => document.getElementById(id);

/** An element with attributes (functions become listeners) and children (text or elements). */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "path", "circle", "rect", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (name === "style") Object.assign(node.style, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Replace all but the heading of a section. */
function fill(id, ...children) {
  const section = $(id);
  for (const child of [...section.children]) if (!child.matches("h2, .fixed")) child.remove();
  section.append(...children.filter((child) => child !== null));
}

/** A number as text; a dash where there is none, infinity where the data has its stand-in. */
function show(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Math.abs(value) >= 1e9) return value > 0 ? "∞" : "−∞";
  return value.toFixed(digits).replace("-", "−");
}

const finite = (value) => typeof value === "number" && Number.isFinite(value) && Math.abs(value) < 1e9;
const colour = (system) => COLOURS[SYSTEMS.indexOf(system) % COLOURS.length];
const isFrame = (system) => FRAMES.includes(DATA.systems[system].way);
const swatch = (system) => make("span", { class: "swatch", style: { background: colour(system) } });
const songNow = () => DATA.songs[state.song];
const stemsAndMean = () => [...DATA.sources.filter((stem) => SYSTEMS.some((s) => stem in DATA.systems[s].scores)), "mean"];

/** The text of an asset as a data URI, or null where it was left out. */
function assetUri(name, type) {
  return name in ASSETS ? `data:${type};base64,${ASSETS[name]}` : null;
}

/** Milliseconds as words. */
function wait(milliseconds) {
  if (milliseconds === null) return "whole song";
  return milliseconds < 1000 ? `${show(milliseconds, 1)} ms` : `${show(milliseconds / 1000, 2)} s`;
}
