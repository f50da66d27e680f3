/* run.js - what the page knows of the run: words, the stream of events, the past it keeps.
 * SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
'use strict';
const $ = id => document.getElementById(id);
const POINTS_MAX = 2048, ROUNDS_MAX = 1024, LIST_MAX = 256;
const COLORS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#b8a900', '#7a68c9', '#3f8f8f', '#a5673f', '#8c8c8c', '#5b7a2a', '#999'];
const PHASES = {idle: '#8c8c8c', form: '#b8a900', data: '#d55e00', forward: '#56b4e9', loss: '#009e73', backward: '#0072b2', reduce: '#cc79a7', ready: '#7a68c9', apply: '#a5673f'};
/* Each kind has a letter too: color alone tells nothing to many. */
const MARKS = {
  join: ['J', '#009e73', 'joins'], leave: ['L', '#56b4e9', 'leaves'], death: ['\u2715', '#d5272e', 'deaths'], cut: ['\u00bd', '#7a68c9', 'rate halved'],
  rollback: ['\u21b6', '#d55e00', 'rollbacks'], snapshot: ['S', '#8c8c8c', 'snapshots'], refresh: ['R', '#b8860b', 'new shards'], evaluation: ['E', '#7a68c9', 'evaluations']};
/* What a healthy run says all the time. */
const ROUTINE = ['snapshot_complete', 'snapshot_removed', 'slots_dealt', 'generation_preparing', 'generation_prepared'];
const shown = Object.fromEntries(Object.keys(MARKS).map(kind => [kind, true]));
let run = null, isConnected = false, sortBy = 'rank', isUp = true, events = 'notable', isDue = false, skew = 0;

/* ---- words ---- */
const isNumber = v => typeof v === 'number' && isFinite(v);
function round(v, digits = 3) { return !isNumber(v) ? '\u2013' : Math.abs(v) >= 1e6 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : String(+v.toPrecision(Math.max(digits, Math.ceil(Math.log10(Math.abs(v) + 1))))); }
function count(v) { return isNumber(v) ? Math.round(v).toLocaleString('en') : '\u2013'; }
function bytes(v) { const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB']; let i = 0; while (v >= 1000 && i < 5) { v /= 1000; i++; } return round(v) + ' ' + units[i]; }
function span(ms) {
  if (!isNumber(ms) || ms < 0) return '\u2013';
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60);
  return s < 1 ? Math.round(ms) + ' ms' : s < 60 ? s + ' s' : m < 60 ? m + ' min ' + s % 60 + ' s' : h < 48 ? h + ' h ' + m % 60 + ' min' : Math.floor(h / 24) + ' d ' + h % 24 + ' h';
}
const now = () => Date.now() - skew;
const age = wall => wall > 0 ? Math.max(0, now() - wall) : NaN;
const clock = wall => wall > 0 ? new Date(wall).toTimeString().slice(0, 8) : '';
function make(tag, text, kind) { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (kind) e.className = kind; return e; }
function facts(target, rows) {
  target.replaceChildren(...rows.map(([name, value, note]) => { const box = make('div'), dd = make('dd', value); if (note) dd.append(' ', make('small', note)); box.append(make('dt', name), dd); return box; }));
}

/* ---- what is known ---- */
function mergeHalf(points) {
  const out = [];
  for (let i = 0; i < points.length; i += 2) {
    const a = points[i], b = points[i + 1];
    if (!b) { out.push(a); break; }
    const n = a.count, m = b.count, mean = (x, y) => !isNumber(x) ? y : !isNumber(y) ? x : (x * n + y * m) / (n + m);
    const c = {...b, step: a.step, count: n + m, phase_ms: a.phase_ms.map((v, k) => mean(v, b.phase_ms[k]))};
    for (const key of ['loss', 'grad_norm', 'step_ms', 'data_wait_ms', 'images']) c[key] = mean(a[key], b[key]);
    out.push(c);
  }
  return out;
}
function takeStep(s) {
  if (run.lineageSeen !== undefined && s.lineage > run.lineageSeen) run.points = run.points.filter(p => p.step < s.step);
  run.lineageSeen = s.lineage;
  run.points.push({...s, count: 1});
  if (run.points.length > POINTS_MAX) run.points = mergeHalf(run.points);
  Object.assign(run, {loss: s.loss, lr: s.lr, step: s.step + (s.is_commit ? 1 : 0), step_wall_ms: s.is_commit ? s.wall_ms : run.step_wall_ms});
  if (!isNumber(s.loss)) run.notFinite = (run.notFinite || 0) + 1;
}
function takePresent(p) {
  if (p.round && (!run.rounds.length || p.round.wall_ms > run.rounds[run.rounds.length - 1].wall_ms)) run.rounds.push(p.round);
  if (run.rounds.length > ROUNDS_MAX) run.rounds = run.rounds.filter((_, i) => i % 2);
  delete p.round;
  Object.assign(run, p);
  takeLearning(p.learning);
  if (p.is_live && p.wall_ms) skew = Date.now() - p.wall_ms; /* ages are told by the server's clock */
}
function takeLearning(figures) {
  const list = run.learnings, last = list[list.length - 1];
  if (!figures || (last && last.step === figures.step)) return;
  while (list.length && list[list.length - 1].step >= figures.step) list.pop(); /* voided by a rollback */
  list.push(figures);
  if (list.length > ROUNDS_MAX) run.learnings = list.filter((_, i) => i % 2);
}
function addTo(list, item) { list.push(item); if (list.length > LIST_MAX) list.shift(); }
const handlers = {
  status(s) { run = s; run.lineageSeen = s.lineage; run.isNewEvents = true; if (s.is_live && s.wall_ms) skew = Date.now() - s.wall_ms; },
  present: takePresent, step: takeStep,
  event(e) {
    addTo(run.events, e); run.isNewEvents = true;
    const gone = e.kind === 'snapshot_removed' && /^snapshot=(\S+)/.exec(e.text);
    if (gone) run.snapshots = run.snapshots.filter(x => x.name !== gone[1]);
  },
  mark(m) { addTo(run.marks, m); },
  saved(s) { addTo(run.snapshots, s); },
  evaluations(list) { run.evaluations = list; }};
/* Whoever comes back goes on behind what it saw (Last-Event-ID); otherwise all is sent anew. */
function connect() {
  const source = new EventSource('api/v1/events');
  source.onopen = () => { isConnected = true; due(); };
  source.onerror = () => { isConnected = false; due(); if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000); };
  for (const name of Object.keys(handlers)) source.addEventListener(name, e => { if (run || name === 'status') handlers[name](JSON.parse(e.data)); due(); });
}
function due() { if (!isDue) { isDue = true; setTimeout(() => { isDue = false; draw(); }, 200); } }
