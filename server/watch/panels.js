/* panels.js - the panels, drawn from what run.js knows, and their controls.
 * SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
/* ---- panels ---- */
function smooth(points) {
  let mean, seen = 0, out = []; /* short at first, or the first steps would be seen for long */
  for (const p of points) { if (isNumber(p.loss)) { const keep = Math.pow(Math.min(.95, seen / (seen + 4)), p.count); seen += p.count; mean = mean === undefined ? p.loss : mean * keep + p.loss * (1 - keep); } out.push(mean); }
  return out;
}
function drawCurves() {
  const points = run.points, x = points.map(p => p.step), mean = smooth(points), last = points[points.length - 1];
  const marksNear = i => run.marks.filter(m => shown[m.kind] && m.step >= x[i] && m.step < (i + 1 < x.length ? x[i + 1] : Infinity)).slice(-4).map(m => '\n' + MARKS[m.kind][0] + ' ' + m.kind + ' ' + m.text.slice(0, 34)).join('');
  plot('loss', {x, lines: [{y: points.map(p => p.loss), color: style('--raw'), width: 1}, {y: mean, color: style('--accent'), width: 2.2}],
    level: run.prototypes > 0 ? {y: run.uniform_loss, color: style('--uniform'), name: 'ln K = ' + round(run.uniform_loss, 4) + ', K = ' + count(run.prototypes)} : null,
    marks: run.marks.filter(m => shown[m.kind]), at: charts.loss && charts.loss.at,
    tell: i => 'step ' + count(x[i]) + '\nloss ' + round(points[i].loss, 4) + '\nsmoothed ' + round(mean[i], 4) + '\nmembers ' + points[i].world_size + marksNear(i)});
  if (document.activeElement !== $('loss')) $('c-loss').textContent = last ? 'Step ' + count(last.step) + ': loss ' + round(last.loss, 4) + ', smoothed ' + round(mean[mean.length - 1], 4) + '; ' + (run.prototypes > 0 ? 'ln K is ' + round(run.uniform_loss, 4) + '.' : '') : '';
  plot('lr', {x, isLog: points.some(p => p.lr > 0) && Math.max(...points.map(p => p.lr)) > 20 * Math.min(...points.filter(p => p.lr > 0).map(p => p.lr)), lines: [{y: points.map(p => p.lr), color: style('--accent'), width: 2}], at: charts.lr && charts.lr.at, marks: run.marks.filter(m => m.kind === 'cut' && shown.cut), tell: i => 'step ' + count(x[i]) + '\nrate ' + round(points[i].lr, 4)});
  plot('norm', {x, isLog: true, lines: [{y: points.map(p => p.grad_norm), color: style('--accent'), width: 1.5}], at: charts.norm && charts.norm.at, tell: i => 'step ' + count(x[i]) + '\nnorm ' + round(points[i].grad_norm, 4)});
  if (last && document.activeElement !== $('lr')) $('c-lr').textContent = 'Now ' + round(last.lr, 4) + '.';
  if (last && document.activeElement !== $('norm')) $('c-norm').textContent = 'Now ' + round(last.grad_norm, 4) + ', before clipping.' + (run.learning && isNumber(run.learning.weight_norm) ? ' Weights ' + round(run.learning.weight_norm, 4) + (isNumber(run.learning.trust_median) ? '; trust ratios: median ' + round(run.learning.trust_median) + ', least ' + round(run.learning.trust_least) : '') + '.' : '');
  const timed = points.filter(p => p.phase_ms.some(v => v > 0)), tx = timed.map(p => p.step);
  const names = run.phases, used = names.map((_, k) => k).filter(k => points.some(p => p.phase_ms[k] > 0));
  plot('phases', {x: tx, bands: used.map(k => ({y: timed.map(p => p.phase_ms[k]), color: PHASES[names[k]]})), at: charts.phases && charts.phases.at,
    tell: i => 'step ' + count(tx[i]) + used.slice().reverse().map(k => '\n' + names[k] + ' ' + round(timed[i].phase_ms[k])).join('') + '\nwhole step ' + round(timed[i].step_ms) + ' ms'});
  keys('k-phases', used.map(k => [names[k], PHASES[names[k]]]));
  const recent = points.slice(-50), sum = k => recent.reduce((s, p) => s + (p.phase_ms[k] || 0), 0), all = used.reduce((s, k) => s + sum(k), 0);
  if (all > 0 && document.activeElement !== $('phases')) $('c-phases').textContent = 'Slowest member of each phase; lately: ' + used.map(k => names[k] + ' ' + Math.round(100 * sum(k) / all) + ' %').join(', ') + '.';
}
function keys(id, pairs) {
  const text = JSON.stringify(pairs);
  if ($(id).dataset.text === text) return;
  $(id).dataset.text = text;
  $(id).replaceChildren(...pairs.map(([name, color]) => { const s = make('span'), i = make('i'); i.style.background = color; s.append(i, name); return s; }));
}
function drawRate() {
  const rounds = run.rounds, lanes = run.lanes || [], x = rounds.map(r => r.wall_ms), hasRest = rounds.some(r => r.images_per_second[lanes.length] > 0 && r.images_per_second.length > lanes.length);
  const bands = lanes.map((name, k) => ({name, y: rounds.map(r => k < r.images_per_second.length - 1 ? r.images_per_second[k] : 0), color: COLORS[k % 12]}));
  if (hasRest) bands.push({name: 'others', y: rounds.map(r => r.images_per_second[r.images_per_second.length - 1]), color: COLORS[12]});
  plot('rate', {x, isTime: true, bands, at: charts.rate && charts.rate.at, tell: i => clock(x[i]) + bands.slice().reverse().filter(b => b.y[i] > 0).slice(0, 14).map(b => '\n' + b.name + ' ' + round(b.y[i])).join('')});
  keys('k-rate', bands.map(b => [b.name, b.color]));
  if (document.activeElement !== $('rate')) $('c-rate').textContent = 'Now ' + round(run.images_per_second) + ' images/s from ' + run.world_size + (run.world_size === 1 ? ' member.' : ' members.');
}
function gpuText(w) {
  const figures = [[w.gpu_utilization_percent, v => v + ' %'], [w.gpu_memory_used_bytes, bytes], [w.gpu_temperature_c, v => v + ' \u00b0C'], [w.gpu_power_mw, v => round(v / 1000) + ' W']];
  return figures.filter(([v]) => isNumber(v)).map(([v, tell]) => tell(v)).join(', ') || '\u2013';
}
const columns = [['name', 'Worker', w => w.name, 1], ['rank', 'Rank', w => w.rank < 0 ? '\u2013' : w.rank], ['state', 'State', w => w.state, 1], ['phase', 'Phase', w => w.phase, 1], ['step', 'Step', w => count(w.step)],
  ['images_per_second', 'Images/s', w => round(w.images_per_second)], ['step_ms', 'Step ms', w => round(w.step_ms)], ['data_wait_percent', 'Data wait', w => round(w.data_wait_percent, 2) + ' %'],
  ['memory_bytes', 'Memory', w => bytes(w.memory_bytes)], ['gpu_utilization_percent', 'GPU', gpuText], ['images_trained', 'Images', w => count(w.images_trained)], ['heartbeat_age_ms', 'Heard', w => span(w.heartbeat_age_ms)], ['device', 'Device', w => w.device, 1], ['version', 'Version', w => w.version, 1], ['host', 'Host', w => w.host + ' (' + w.pid + ')', 1]];
function alarm(key, w, median) {
  if (key === 'heartbeat_age_ms') return w.heartbeat_age_ms > 2000 ? 'bad' : w.heartbeat_age_ms > 1000 ? 'warn' : '';
  if (key === 'data_wait_percent') return w.data_wait_percent > 30 ? 'bad' : w.data_wait_percent > 10 ? 'warn' : '';
  if (key === 'step_ms') return median > 0 && w.step_ms > 2 * median ? 'warn' : '';
  return '';
}
function drawWorkers() {
  const wanted = $('filter').value.toLowerCase(), sign = isUp ? 1 : -1;
  const list = run.workers.filter(w => !wanted || (w.name + ' ' + w.host + ' ' + w.state + ' ' + w.device + ' ' + w.phase).toLowerCase().includes(wanted));
  const value = w => sortBy === 'rank' && w.rank < 0 ? 1e9 : w[sortBy] ?? -1;
  list.sort((a, b) => { const x = value(a), y = value(b); return sign * (typeof x === 'string' ? x.localeCompare(y, 'en', {numeric: true}) : x - y) || a.name.localeCompare(b.name, 'en', {numeric: true}); });
  const times = run.workers.map(w => w.step_ms).filter(v => v > 0).sort((a, b) => a - b), median = times[times.length >> 1] || 0;
  $('rows').replaceChildren(...list.map(w => { const row = make('tr'); for (const [key, name, tell, isLeft] of columns) { const cell = make('td', tell(w), (isLeft ? 'left ' : '') + alarm(key, w, median)); cell.dataset.name = name; row.append(cell); } if (run.has_orders) row.firstChild.append(' ', drainButton(w)); return row; }));
  $('n-workers').textContent = list.length === run.workers.length ? run.workers.length + ' there, ' + run.world_size + ' members' : list.length + ' of ' + run.workers.length;
  for (const th of $('columns').children) th.setAttribute('aria-sort', th.dataset.key === sortBy ? (isUp ? 'ascending' : 'descending') : 'none');
}
function gauge(name, value, note, low, high, optimum) {
  const box = make('div'), meter = make('meter'), text = make('div', name + ': ' + note);
  Object.assign(meter, {min: 0, max: 1, low, high, optimum, value: Math.min(Math.max(value, 0), 1)});
  meter.setAttribute('aria-label', name + ': ' + note);
  box.append(text, meter);
  return box;
}
const HEALTH = [['prototypes used', '#0072b2', f => f.prototypes_used / f.prototypes], ['even use', '#e69f00', f => f.usage_entropy],
  ['sure codes', '#cc79a7', f => 1 - f.codes_entropy], ['rank', '#009e73', f => f.embedding_rank / f.embedding], ['spread', '#56b4e9', f => f.embedding_spread]];
function drawLearning() {
  const mean = run.loss_smooth, below = run.uniform_loss > 0 && mean > 0 ? 1 - mean / run.uniform_loss : NaN, f = run.learning, parts = [];
  const skipped = run.events.filter(e => e.kind === 'step_skipped').length, found = run.advice || [];
  if (isNumber(below)) parts.push(gauge('Loss below ln K', below, Math.max(0, 100 * below).toFixed(1) + ' %' + (below < .01 ? ' \u2013 the assignments say almost nothing yet' : ''), .01, .05, 1));
  if (f) {
    parts.push(gauge('Prototypes in use', f.prototypes_used / f.prototypes, count(f.prototypes_used) + ' of ' + count(f.prototypes) + ', by the last ' + count(f.assignments) + ' images', .2, .5, 1));
    if (isNumber(f.embedding_rank)) parts.push(gauge('Rank of embeddings', f.embedding_rank / f.embedding, round(f.embedding_rank) + ' of ' + f.embedding, .05, .15, 1));
  }
  if (run.notFinite || skipped) parts.push(make('p', 'Steps not finite: ' + (run.notFinite || 0) + ' seen; skipped in the event list: ' + skipped + '.', run.notFinite ? 'badge bad' : ''));
  $('learn').replaceChildren(...parts);
  const advice = JSON.stringify(found);
  if ($('advice').dataset.text !== advice) { $('advice').dataset.text = advice; $('advice').replaceChildren(...found.map(a => make('li', a.text, a.is_bad ? 'bad' : ''))); }
  const points = run.learnings, x = points.map(p => p.step);
  plot('health', {x, lines: HEALTH.map(([, color, share]) => ({y: points.map(share), color, width: 1.6})), range: [0, 1], at: charts.health && charts.health.at,
    tell: i => 'step ' + count(x[i]) + HEALTH.map(([name, , share]) => '\n' + name + ' ' + round(100 * share(points[i])) + ' %').join('')});
  keys('k-health', HEALTH.map(([name, color]) => [name, color]));
  if (document.activeElement !== $('health')) $('c-health').textContent = f ? 'Of step ' + count(f.step) + ': ' + HEALTH.map(([name, , share]) => name + ' ' + round(100 * share(f)) + ' %').join(', ') + '. All fall when learning collapses.' : 'No sample yet: one every 25 steps.';
}
function drawRest() {
  const s = run.stream, rate = run.images_per_second, ahead = rate > 0 ? s.backlog_images / rate * 1000 : NaN, disk = run.disk_total_bytes > 0 ? run.disk_free_bytes / run.disk_total_bytes : NaN;
  facts($('stream'), [['Newest shard', s.newest_wall_ms ? span(age(s.newest_wall_ms)) + ' ago' : '\u2013'], ['Images ahead', count(s.backlog_images), isNumber(ahead) ? 'for ' + span(ahead) : ''], ['Shards', count(s.shards)], ['Trained up to image', count(s.position)]]);
  const parts = [gauge('Goodput', run.goodput, round(100 * run.goodput) + ' % of ' + span(run.uptime_ms) + ' since the server started', .5, .8, 1)];
  if (isNumber(disk)) parts.push(gauge('Disk free', disk, bytes(run.disk_free_bytes) + ' of ' + bytes(run.disk_total_bytes), .1, .2, 1));
  $('goodput').replaceChildren(...parts);
  $('saved').replaceChildren(...run.snapshots.slice().reverse().slice(0, 20).map(x => { const row = make('tr'); row.append(make('td', x.name + (x.is_complete ? '' : ' failed: ' + x.reason), 'left' + (x.is_complete ? '' : ' bad')), make('td', count(x.step)), make('td', x.bytes ? bytes(x.bytes) : '\u2013'), make('td', span(age(x.wall_ms)))); return row; }));
  $('n-snapshots').textContent = run.snapshot ? 'newest ' + span(age(run.snapshot_wall_ms)) + ' old' : 'none yet';
}
function drawEvaluations() {
  const rows = run.evaluations.slice().sort((a, b) => a.step - b.step), names = [...new Set(rows.map(r => r.name))], steps = [...new Set(rows.map(r => r.step))];
  $('f-evals').hidden = steps.length < 2;
  if (steps.length > 1) plot('evals', {x: steps, isDotted: true, at: charts.evals && charts.evals.at, lines: names.map((name, k) => ({color: COLORS[k % 12], width: 1.6, y: steps.map(step => (rows.find(r => r.name === name && r.step === step) || {}).top1)})),
    tell: i => 'step ' + count(steps[i]) + rows.filter(r => r.step === steps[i]).map(r => '\n' + r.name + ' ' + r.top1.toFixed(1) + ' %').join('')});
  keys('k-evals', steps.length > 1 ? names.map((name, k) => [name, COLORS[k % 12]]) : []);
  if (document.activeElement !== $('evals')) $('c-evals').textContent = rows.length ? names.map(name => { const last = rows.filter(r => r.name === name).pop(); return name + ' ' + last.top1.toFixed(1) + ' % at step ' + count(last.step); }).join(', ') + '.' : '';
  $('scores').replaceChildren(...(rows.length ? rows.reverse().slice(0, 40).map(r => { const row = make('tr'); row.append(make('td', r.name, 'left'), make('td', count(r.step)), make('td', r.top1.toFixed(1) + (r.deviation > 0 ? ' \u00b1 ' + r.deviation.toFixed(1) : '')), make('td', r.layer || '\u2013', 'left roomy'), make('td', span(age(r.wall_ms)))); return row; }) : [make('tr')]));
  if (!rows.length) { const cell = make('td', 'None yet: seer eval knn --snapshot ... of a snapshot of this run.', 'left soft'); cell.colSpan = 5; cell.style.whiteSpace = 'normal'; $('scores').firstChild.append(cell); }
}
function drawEvents() {
  if (!run.isNewEvents) return;
  run.isNewEvents = false;
  const wanted = $('words').value.toLowerCase();
  const list = run.events.filter(e => (events === 'all' || (events === 'notable' ? !ROUTINE.includes(e.kind) || e.is_warning : e.is_warning)) && (!wanted || (e.kind + ' ' + e.text).toLowerCase().includes(wanted))).slice(-120).reverse();
  $('log').replaceChildren(...list.map(e => { const row = make('li', undefined, e.is_warning ? 'warning' : ''), text = make('span'); text.append(make('b', (e.is_warning ? '! ' : '') + e.kind), ' ' + e.text); const time = make('time', clock(e.wall_ms), 'soft'); if (e.wall_ms) time.dateTime = new Date(e.wall_ms).toISOString(); row.append(time, text); return row; }));
}
function drawHead() {
  const points = run.points.slice(-30), ms = points.length ? points.reduce((s, p) => s + p.step_ms, 0) / points.length : NaN;
  $('name').textContent = run.name || 'seer';
  $('identity').textContent = run.run ? 'run ' + run.run + ' \u00b7 everseer ' + run.version : '';
  const state = !isConnected ? 'no connection' : !run.is_live ? 'server not heard' : run.state;
  $('state').textContent !== state && ($('state').textContent = state);
  $('state').className = 'badge ' + (!isConnected || !run.is_live ? 'bad' : run.state === 'training' || run.state === 'finished' ? 'good' : 'warn');
  $('heard').textContent = run.step_wall_ms ? 'last step ' + span(age(run.step_wall_ms)) + ' ago' : '';
  const trouble = !isConnected ? 'No connection to the dashboard; trying again.' : !run.is_live ? 'The server is not heard: ' + run.trouble : '';
  if ($('banner').textContent !== trouble) { $('banner').textContent = trouble; $('banner').hidden = !trouble; }
  facts($('facts'), [['Step', count(run.step), run.steps > 0 ? 'of ' + count(run.steps) : ''], ['Loss', round(run.loss_smooth, 4), 'smoothed'], ['Images/s', round(run.images_per_second)],
    ['Step time', round(ms), 'ms'], ['Members', count(run.world_size), 'of ' + run.workers.length], ['Generation', count(run.generation), 'lineage ' + run.lineage], ['Images trained', count(run.step * run.batch_images)],
    ['Goodput', round(100 * run.goodput) + ' %'], ['Server up', span(run.uptime_ms), 'start ' + run.epoch], ['To the end', run.steps > 0 && isNumber(ms) ? span((run.steps - run.step) * ms) : 'no end set']]);
  document.title = state + ' \u00b7 ' + round(run.loss_smooth, 4) + ' \u00b7 ' + (run.name || 'seer');
}
function draw() {
  if (!run) { if (!isConnected) { $('state').textContent = 'no connection'; } return; }
  drawHead(); drawCurves(); drawRate(); drawLearning(); drawRest(); drawEvaluations(); drawWorkers(); drawEvents(); drawOrders();
}

/* ---- orders: only where the page was started with --orders ---- */
let order = null;
function askOrder(what, path) {
  order = path;
  $('order-what').textContent = what; $('order-said').textContent = '';
  try { $('order-token').value = sessionStorage.getItem('token') || ''; } catch (e) { /* none kept */ }
  $('order').showModal();
}
async function giveOrder() {
  const token = $('order-token').value.trim(), reason = $('order-reason').value.trim();
  $('order-said').textContent = 'asked\u2026';
  try {
    const answer = await fetch(order + (order.includes('?') ? '&' : '?') + 'reason=' + encodeURIComponent(reason), {method: 'POST', headers: {Authorization: 'Bearer ' + token}});
    $('order-said').textContent = answer.ok ? 'Done: the events tell what comes of it.' : 'Refused: ' + await answer.text();
    try { answer.ok ? sessionStorage.setItem('token', token) : answer.status === 401 && sessionStorage.removeItem('token'); } catch (e) { /* asked for again */ }
  } catch (e) { $('order-said').textContent = 'No answer from the page\u2019s program.'; }
}
$('order-give').onclick = giveOrder;
$('order').querySelector('form').onsubmit = e => { if (e.submitter !== $('order-close')) { e.preventDefault(); giveOrder(); } };
$('pause').onclick = () => run.state === 'paused' ? askOrder('Let the run go on?', 'api/v1/resume') : askOrder('Hold the run at the next step boundary?', 'api/v1/pause');
function drainButton(w) {
  const button = make('button', 'Drain');
  button.type = 'button'; button.setAttribute('aria-label', 'Drain ' + w.name);
  button.onclick = () => askOrder('Drain ' + w.name + ' at the next step boundary?', 'api/v1/drain?worker=' + encodeURIComponent(w.name));
  return button;
}
function drawOrders() {
  $('pause').hidden = !run.has_orders;
  $('pause').textContent = run.state === 'paused' ? 'Resume' : 'Pause';
}

/* ---- controls ---- */
for (const [kind, [letter, color, name]] of Object.entries(MARKS)) {
  const button = make('button', letter + ' ' + name);
  button.type = 'button'; button.style.borderLeft = '4px solid ' + color; button.setAttribute('aria-pressed', 'true');
  button.onclick = () => { shown[kind] = !shown[kind]; button.setAttribute('aria-pressed', shown[kind]); draw(); };
  $('marks').append(button);
}
for (const [key, name, , isLeft] of columns) {
  const th = make('th', undefined, isLeft ? 'left' : ''), button = make('button', name);
  th.scope = 'col'; th.dataset.key = key; button.type = 'button';
  button.onclick = () => { isUp = sortBy === key ? !isUp : isLeft || key === 'rank'; sortBy = key; if (run) drawWorkers(); };
  th.append(button); $('columns').append(th);
}
$('filter').oninput = () => run && drawWorkers();
$('words').oninput = () => { if (run) { run.isNewEvents = true; drawEvents(); } };
$('which').onchange = () => { events = $('which').value; $('words').oninput(); };
const media = matchMedia('(prefers-color-scheme: dark)');
function paint() { let kept = null; try { kept = localStorage.getItem('theme'); } catch (e) { /* none kept */ } document.documentElement.classList.toggle('dark', kept ? kept === 'dark' : media.matches); draw(); }
$('theme').onclick = () => { try { localStorage.setItem('theme', document.documentElement.classList.contains('dark') ? 'light' : 'dark'); } catch (e) { document.documentElement.classList.toggle('dark'); } paint(); };
media.onchange = paint;
['loss', 'lr', 'norm', 'rate', 'phases', 'health', 'evals'].forEach(listen);
new ResizeObserver(due).observe(document.body);
setInterval(due, 1000); /* ages grow without news */
paint();
connect();
