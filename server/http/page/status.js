"use strict";
// Asks the server for its figures, and draws them. Texts of clients are only ever text nodes.

const period = 2000;
const history_max = 150;
const history = {rate: [], memory: [], p99: []};
let before = null;

const byId = (id) => document.getElementById(id);
const put = (id, text) => { byId(id).textContent = text; };

function bytesText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1023.95 && unit + 1 < units.length) { bytes /= 1024; ++unit; }
  return (unit === 0 ? bytes.toFixed(0) : bytes.toFixed(1)) + " " + units[unit];
}

function durationText(us) {
  if (us < 1000) return us.toFixed(0) + " µs";
  if (us < 1e6) return (us / 1e3).toFixed(1) + " ms";
  if (us < 6e7) return (us / 1e6).toFixed(1) + " s";
  const minutes = Math.floor(us / 6e7);
  if (minutes < 60) return minutes + " min " + Math.floor(us / 1e6 % 60) + " s";
  if (minutes < 1440) return Math.floor(minutes / 60) + " h " + minutes % 60 + " min";
  return Math.floor(minutes / 1440) + " d " + Math.floor(minutes / 60) % 24 + " h";
}

const countText = (count) => count.toLocaleString("en");
const rateText = (rate) => (rate < 10 ? rate.toFixed(1) : countText(Math.round(rate))) + "/s";

// The time within which a share of the requests in the buckets was answered; bucket i ends at 2^i µs.
function percentile(buckets, share) {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = share * total;
  for (let i = 0; i < buckets.length; ++i) {
    if (buckets[i] > 0 && buckets[i] >= left) {
      const begin = i === 0 ? 0 : 2 ** (i - 1);
      return begin + (2 ** i - begin) * left / buckets[i];
    }
    left -= buckets[i];
  }
  return null;
}

function sumOfBuckets(kinds) {
  const out = new Array(28).fill(0);
  for (const kind of kinds) kind.buckets.forEach((count, i) => { out[i] += count; });
  return out;
}

const total = (kinds, key) => kinds.reduce((sum, kind) => sum + kind[key], 0);
const timeText = (us) => us === null ? "–" : durationText(us);

function cell(row, text, classes, tag) {
  const out = document.createElement(tag || "td");
  out.textContent = text;
  if (classes) out.className = classes;
  row.append(out);
}

// `columns`: title, text of an item, and classes.
function fill(id, columns, items, nothing) {
  const table = byId(id);
  const rows = [];
  if (items.length === 0) {
    const row = document.createElement("tr");
    cell(row, nothing, "nothing");
    table.replaceChildren(row);
    return;
  }
  const head = document.createElement("tr");
  for (const [title, , classes] of columns) cell(head, title, classes, "th");
  rows.push(head);
  for (const item of items) {
    const row = document.createElement("tr");
    for (const [, text, classes] of columns) cell(row, text(item), classes);
    rows.push(row);
  }
  table.replaceChildren(...rows);
}

function draw(id, values) {
  const svg = byId(id);
  const most = Math.max(...values, 1e-9) * 1.1;
  const step = 300 / (history_max - 1);
  const first = 300 - step * (values.length - 1);
  const points = values.map((value, i) =>
    (first + i * step).toFixed(1) + "," + (58 - 54 * value / most).toFixed(1));
  const space = "http://www.w3.org/2000/svg";
  const area = document.createElementNS(space, "path");
  area.setAttribute("d", "M" + first.toFixed(1) + ",60L" + points.join("L") + "L300,60Z");
  const line = document.createElementNS(space, "polyline");
  line.setAttribute("points", points.join(" "));
  svg.replaceChildren(area, line);
}

function remember(name, value) {
  history[name].push(value);
  if (history[name].length > history_max) history[name].shift();
}

function bar(id, share) {
  const element = byId(id);
  element.style.width = Math.min(100, 100 * share).toFixed(1) + "%";
  element.className = share > 0.9 ? "full" : "";
}

function topOps(ops, count) {
  return Object.entries(ops).sort((a, b) => b[1] - a[1]).slice(0, count);
}

function show(now) {
  const stats = now.stats;
  // The first figures are those since the start of the server.
  const old = before && before.uptime_ms < now.uptime_ms ? before :
    {uptime_ms: 0, stats: {engine_us: 0, kinds: [], ops: {}}, sessions: []};
  const seconds = Math.max(1e-3, (now.uptime_ms - old.uptime_ms) / 1000);
  const oldKinds = new Map(old.stats.kinds.map((kind) => [kind.kind, kind]));
  const rate = (total(stats.kinds, "count") - total(old.stats.kinds, "count")) / seconds;
  const errors = (total(stats.kinds, "errors") - total(old.stats.kinds, "errors")) / seconds;
  const busy = Math.min(1, (stats.engine_us - old.stats.engine_us) / 1e6 / seconds);
  const oldBuckets = sumOfBuckets(old.stats.kinds);
  const recent = sumOfBuckets(stats.kinds).map((count, i) => count - oldBuckets[i]);
  const p99 = percentile(recent, 0.99);
  const memory = now.memory;

  put("about", `${now.server} · up ${durationText(now.uptime_ms * 1000)} · ${now.threads} threads · ` +
    `${now.isa} · passes by ${now.compiler}`);
  put("memory", bytesText(memory.used));
  put("memory-more", (memory.limit ? "of " + bytesText(memory.limit) : "no limit") + ", peak " +
    bytesText(memory.peak));
  bar("memory-bar", memory.limit ? memory.used / memory.limit : 0);
  put("rate", rateText(rate));
  put("errors", `${rateText(errors)} with errors; ${countText(stats.slow)} slow since the start`);
  put("busy", (100 * busy).toFixed(0) + " %");
  bar("busy-bar", busy);
  put("queue", stats.queue === 1 ? "1 request waits" : countText(stats.queue) + " requests wait");
  put("p50", timeText(percentile(recent, 0.5)));
  put("p99", `the half; 90 % ${timeText(percentile(recent, 0.9))}, 99 % ${timeText(p99)}`);
  put("sessions", countText(stats.sessions));
  put("tensors", countText(now.tokens.reduce((sum, token) => sum + token.handles, 0)) + " tensors");

  remember("rate", rate);
  remember("memory", memory.used);
  remember("p99", p99 || 0);
  draw("rate-chart", history.rate);
  draw("memory-chart", history.memory);
  draw("p99-chart", history.p99);
  put("rate-now", rateText(rate));
  put("memory-now", bytesText(memory.used));
  put("p99-now", timeText(p99));

  fill("session-table", [
    ["Session", (one) => one.session, "right"],
    ["Token", (one) => one.token || "–"],
    ["Address", (one) => one.peer || one.transport],
    ["Age", (one) => durationText(one.age_ms * 1000), "right"],
    ["Requests", (one) => countText(one.requests), "right"],
    ["Waiting", (one) => countText(one.queue), "right"],
    ["Tensors", (one) => countText(one.tensors), "right"],
    ["Size", (one) => bytesText(one.bytes), "right"],
    ["Running", (one) => one.running ?
      `${one.running.kind} ${one.running.request} for ${durationText(one.running.us)}` : ""],
  ], now.sessions, "No session is open.");

  fill("kind-table", [
    ["Kind", (kind) => kind.kind],
    ["Requests", (kind) => countText(kind.count), "right"],
    ["Now", (kind) => rateText((kind.count - (oldKinds.get(kind.kind) || {count: 0}).count) / seconds),
      "right"],
    ["Errors", (kind) => countText(kind.errors), "right"],
    ["50 %", (kind) => timeText(percentile(kind.buckets, 0.5)), "right"],
    ["90 %", (kind) => timeText(percentile(kind.buckets, 0.9)), "right"],
    ["99 %", (kind) => timeText(percentile(kind.buckets, 0.99)), "right"],
  ], [...stats.kinds].sort((a, b) => b.count - a.count), "No request has come.");

  fill("op-table", [
    ["Op", ([op]) => op],
    ["Instructions", ([, count]) => countText(count), "right"],
    ["Now", ([op, count]) => rateText((count - (old.stats.ops[op] || 0)) / seconds), "right"],
  ], topOps(stats.ops, 20), "No program has run.");

  fill("slow-table", [
    ["Ended", (one) => new Date(one.at_ms).toLocaleTimeString()],
    ["Session", (one) => one.session, "right"],
    ["Token", (one) => one.token || "–"],
    ["Request", (one) => `${one.kind} ${one.request}`],
    ["Waited", (one) => durationText(one.wait_us), "right"],
    ["Ran", (one) => durationText(one.run_us), "right"],
    ["Result", (one) => one.code],
    ["Ops", (one) => topOps(one.ops, 6).map(([op, count]) => `${op} ${count}`).join(", "), "wide"],
  ], now.slow.slice(0, 10), `No request has run for ${durationText(stats.slow_us)} or longer.`);

  fill("token-table", [
    ["Token", (one) => one.token || "–"],
    ["Sessions", (one) => countText(one.sessions), "right"],
    ["Memory", (one) => bytesText(one.bytes) +
      (one.bytes_quota ? " of " + bytesText(one.bytes_quota) : ""), "right"],
    ["Tensors", (one) => countText(one.handles), "right"],
    ["Programs", (one) => countText(one.programs), "right"],
    ["Engine time", (one) => durationText(one.engine_ms * 1000), "right"],
    ["Priority", (one) => one.priority, "right"],
  ], now.tokens, "No client has come.");

  const last = now.checkpoint;
  put("process", `Process: ${bytesText(now.process.resident_bytes)} in RAM, ` +
    `${durationText(now.process.cpu_seconds * 1e6)} of processor time, ` +
    `${now.process.descriptors} descriptors.` + (last ? ` Checkpoint ${last.number}: ` +
      `${last.names} names, ${bytesText(last.bytes)}` + (last.changed ? ", lacks changes" : "") +
      (last.error ? `. The last one failed: ${last.error}` : "") + "." : ""));
  before = now;
}

function setState(text, good) {
  put("state", text);
  byId("state").className = "state " + (good ? "good" : "bad");
}

async function ask() {
  try {
    const reply = await fetch("status.json", {cache: "no-store", signal: AbortSignal.timeout(5000)});
    if (!reply.ok) throw new Error("status " + reply.status);
    show(await reply.json());
    setState("live", true);
  } catch (error) {
    setState("no answer", false);
  }
}

// A page that nobody sees asks nothing.
async function turn() {
  if (!document.hidden) await ask();
  setTimeout(turn, period);
}
turn();
