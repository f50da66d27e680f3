/* charts.js - curves and stacked bands on a canvas, with marks, for pointer and keyboard.
 * SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
/* ---- charts ---- */
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const charts = {};
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted, power = Math.pow(10, Math.floor(Math.log10(raw))), unit = [1, 2, 5, 10].find(u => u * power >= raw) * power, out = [];
  for (let v = Math.ceil(low / unit) * unit; v <= high + unit * 1e-9; v += unit) out.push(Math.abs(v) < unit * 1e-9 ? 0 : v);
  return out;
}
/* chart: x [n], lines [{y [n], color, width}], bands [{y [n], color}] (stacked), level {y, color, name}, range [low, high], marks [{x, ...}], isLog, isDotted (few points, gaps are passed over), isTime, tell(i) */
function plot(id, chart) {
  const canvas = $(id), ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
  const g = canvas.getContext('2d'), n = chart.x.length;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  const size = Math.max(11, Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * .7));
  g.font = size + 'px system-ui, sans-serif';
  const box = {left: size * 3.9, right: width - 8, top: chart.marks ? size + 12 : 8, bottom: height - size - 8};
  chart.box = box; charts[id] = chart;
  if (!n) { g.fillStyle = style('--soft'); g.textAlign = 'center'; g.fillText('nothing yet', width / 2, height / 2); return; }
  const stack = chart.bands ? chart.x.map((_, i) => chart.bands.reduce((s, b) => s + (b.y[i] || 0), 0)) : null;
  let low = Infinity, high = -Infinity;
  const see = v => { if (isNumber(v) && (!chart.isLog || v > 0)) { low = Math.min(low, v); high = Math.max(high, v); } };
  if (stack) { low = 0; const sorted = stack.slice().sort((a, b) => a - b); high = Math.max(sorted[Math.floor(sorted.length * .995)] || 0, 1e-9) * 1.08; }
  else { for (const l of chart.lines) l.y.forEach(see); if (chart.level) see(chart.level.y); }
  if (chart.range) [low, high] = chart.range;
  if (low > high) { low = 0; high = 1; }
  const f = chart.isLog ? v => Math.log10(Math.max(v, 1e-30)) : v => v;
  let a = f(low), b = f(high);
  if (!stack) { const pad = (b - a) * .06 || Math.abs(b) * .05 || 1; a -= pad; b += pad; }
  const x0 = chart.x[0], x1 = Math.max(chart.x[n - 1], x0 + 1);
  const X = v => box.left + (v - x0) / (x1 - x0) * (box.right - box.left), Y = v => box.bottom - (f(v) - a) / (b - a) * (box.bottom - box.top);
  chart.X = X;
  g.lineWidth = 1; g.textBaseline = 'middle';
  const levels = chart.isLog ? ticks(a, b, 3).map(v => Math.pow(10, v)) : ticks(a, b, Math.max(2, Math.floor((box.bottom - box.top) / 45)));
  for (const v of levels) {
    g.strokeStyle = style('--grid'); g.beginPath(); g.moveTo(box.left, Y(v)); g.lineTo(box.right, Y(v)); g.stroke();
    g.fillStyle = style('--soft'); g.textAlign = 'right'; g.fillText(round(v, 3), box.left - 5, Y(v));
  }
  g.textBaseline = 'top'; g.textAlign = 'center'; g.fillStyle = style('--soft');
  for (const v of ticks(x0, x1, Math.max(2, Math.floor(width / 110)))) {
    if (!chart.isTime && v % 1) continue;
    const text = chart.isTime ? clock(v) : count(v), half = g.measureText(text).width / 2;
    g.fillText(text, Math.min(Math.max(X(v), half), width - half), box.bottom + 5);
  }
  g.save(); g.beginPath(); g.rect(box.left, 0, box.right - box.left, box.bottom + 1); g.clip();
  if (stack) {
    const base = new Array(n).fill(0);
    for (const band of chart.bands) {
      g.fillStyle = band.color; g.beginPath();
      for (let i = 0; i < n; i++) g.lineTo(X(chart.x[i]), Y(base[i] + (band.y[i] || 0)));
      for (let i = n - 1; i >= 0; i--) g.lineTo(X(chart.x[i]), Y(base[i]));
      g.fill();
      for (let i = 0; i < n; i++) base[i] += band.y[i] || 0;
    }
  } else for (const l of chart.lines) {
    g.strokeStyle = l.color; g.lineWidth = l.width; g.lineJoin = 'round'; g.beginPath();
    let isOn = false;
    for (let i = 0; i < n; i++) { if (!isNumber(l.y[i])) { isOn = isOn && chart.isDotted; continue; } isOn ? g.lineTo(X(chart.x[i]), Y(l.y[i])) : g.moveTo(X(chart.x[i]), Y(l.y[i])); isOn = true; }
    g.stroke();
    if (chart.isDotted) { g.fillStyle = l.color; for (let i = 0; i < n; i++) if (isNumber(l.y[i])) { g.beginPath(); g.arc(X(chart.x[i]), Y(l.y[i]), 3, 0, 7); g.fill(); } }
  }
  if (chart.level && isNumber(chart.level.y)) {
    g.strokeStyle = g.fillStyle = chart.level.color; g.lineWidth = 1.5; g.setLineDash([6, 4]);
    g.beginPath(); g.moveTo(box.left, Y(chart.level.y)); g.lineTo(box.right, Y(chart.level.y)); g.stroke(); g.setLineDash([]);
    g.textAlign = 'right'; g.textBaseline = Y(chart.level.y) - box.top > 16 ? 'bottom' : 'top'; g.fillText(chart.level.name, box.right - 5, Y(chart.level.y) + (g.textBaseline === 'top' ? 3 : -2));
  }
  if (chart.marks) drawMarks(g, chart, box, size);
  g.restore();
  if (chart.at !== undefined && chart.at < n) { g.strokeStyle = style('--soft'); g.lineWidth = 1; g.beginPath(); g.moveTo(X(chart.x[chart.at]), box.top); g.lineTo(X(chart.x[chart.at]), box.bottom); g.stroke(); }
}
/* What people do not wait for (snapshots, shards, evaluations) are ticks at the foot; the rest are lines, each with its letter. Where
   several stand close, each kind has its letter once, with how many there are: what happened last, rarest first, must not hide. */
const FOOT = {snapshot: 7, refresh: 12, evaluation: 17}, RARE = ['rollback', 'cut', 'death', 'leave', 'join'];
function drawMarks(g, chart, box, size) {
  const groups = [];
  for (const mark of chart.marks) {
    const x = chart.X(mark.step), color = MARKS[mark.kind][1];
    if (x < box.left - 1) continue;
    g.strokeStyle = color;
    if (FOOT[mark.kind]) { g.lineWidth = 2; g.beginPath(); g.moveTo(x, box.bottom); g.lineTo(x, box.bottom - FOOT[mark.kind]); g.stroke(); continue; }
    g.globalAlpha = .75; g.lineWidth = mark.kind === 'death' || mark.kind === 'cut' ? 1.5 : 1; g.beginPath(); g.moveTo(x, box.top - 2); g.lineTo(x, box.bottom); g.stroke(); g.globalAlpha = 1;
    const last = groups[groups.length - 1];
    if (last && x - last.x < size * 1.6) last.kinds[mark.kind] = (last.kinds[mark.kind] || 0) + 1;
    else groups.push({x, kinds: {[mark.kind]: 1}});
  }
  g.textBaseline = 'middle'; g.textAlign = 'left'; g.font = 'bold ' + size + 'px system-ui, sans-serif';
  let free = box.left + 1;
  for (const {x, kinds} of groups) {
    const words = RARE.filter(kind => kinds[kind]).map(kind => [MARKS[kind][0] + (kinds[kind] > 1 ? kinds[kind] : ''), MARKS[kind][1]]);
    const width = words.reduce((sum, [text]) => sum + g.measureText(text).width + 3, 0);
    let at = Math.min(Math.max(x - size * .35, free), box.right - width);
    if (at < free || at - x > size * 4) continue; /* no room: the pointer tells */
    for (const [text, color] of words) { g.fillStyle = color; g.fillText(text, at, box.top - size * .7); at += g.measureText(text).width + 3; }
    free = at + 3;
  }
}
function tellAt(id, i) {
  const canvas = $(id), chart = charts[id], figure = canvas.parentElement;
  let tip = figure.querySelector('.tip');
  if (!chart || !chart.x.length || i === undefined) { if (tip) tip.remove(); if (chart) { delete chart.at; plot(id, chart); } return; }
  chart.at = Math.min(Math.max(i, 0), chart.x.length - 1);
  plot(id, chart);
  if (!tip) { tip = make('div', '', 'tip'); figure.append(tip); }
  tip.textContent = chart.tell(chart.at);
  const x = chart.X(chart.x[chart.at]);
  tip.style.top = '1.6rem';
  tip.style.left = Math.max(0, x + 12 + tip.offsetWidth > canvas.clientWidth ? x - 12 - tip.offsetWidth : x + 12) + 'px';
}
function nearest(id, px) {
  const chart = charts[id];
  if (!chart || !chart.X) return;
  let low = 0, high = chart.x.length - 1;
  while (high - low > 1) { const mid = (low + high) >> 1; chart.X(chart.x[mid]) < px ? low = mid : high = mid; }
  return px - chart.X(chart.x[low]) < chart.X(chart.x[high]) - px ? low : high;
}
function listen(id) {
  const canvas = $(id);
  canvas.addEventListener('pointermove', e => tellAt(id, nearest(id, e.offsetX)));
  canvas.addEventListener('pointerleave', () => tellAt(id));
  canvas.addEventListener('blur', () => tellAt(id));
  canvas.addEventListener('keydown', e => {
    const chart = charts[id], last = chart ? chart.x.length - 1 : 0, at = chart && chart.at !== undefined ? chart.at : last + 1;
    const to = {ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 20, PageDown: at + 20, Home: 0, End: last}[e.key];
    if (e.key === 'Escape') tellAt(id);
    if (to === undefined) return;
    e.preventDefault(); tellAt(id, to);
    $('c-' + id).textContent = chart.tell(chart.at).replace(/\n/g, ', ');
  });
}
