'use strict';
// Everything that comes from the program is put in as text (textContent), never as markup.
(() => {
const data = JSON.parse(document.getElementById('data').textContent);
const report = data.report;
/** Rows that a table shows before it is asked for more. */
const PAGE = 200;

// ---- figures and elements -------------------------------------------------------------------

const count = n => Math.round(n).toLocaleString('en-US');
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let size = Math.abs(n), unit = 0;
  while (size >= 1023.95 && unit < units.length - 1) { size /= 1024; unit += 1; }
  return (n < 0 ? '-' : '') + (unit === 0 ? String(Math.round(size)) : size.toFixed(1)) + ' ' + units[unit];
}
/** What is null is unknown: nobody counted while tracking was off. */
const known = format => n => n === null || n < 0 ? 'unknown' : format(n);
/** For sorting: below everything that is known. */
const orLeast = n => n === null ? -1 : n;
const counted = (n, what) => count(n) + ' ' + what + (n === 1 ? '' : 's');
const signed = (n, format) => (n > 0 ? '+' : '') + format(n);
const percent = part => (100 * part).toFixed(1) + ' %';
function duration(ms) {
  if (ms < 1000) return count(ms) + ' ms';
  if (ms < 120000) return (ms / 1000).toFixed(1) + ' s';
  if (ms < 7200000) return Math.floor(ms / 60000) + ' min';
  return (ms / 3600000).toFixed(1) + ' h';
}
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === 'class') element.className = value;
    else if (name.startsWith('on')) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

// ---- tables -----------------------------------------------------------------------------------

/**
 * A table to sort and search.
 * `columns`: { title, value(row), show(value, row), text } where `text` marks names; numbers sort from the largest on.
 */
function table(name, columns, rows, details) {
  let sorted = columns.findIndex(column => column.first), down = true, wanted = '', shown = PAGE;
  if (sorted < 0) { sorted = 0; down = !columns[0].text; }
  const body = make('tbody');
  const status = make('span', { class: 'faint', role: 'status' });
  const more = make('button', { class: 'plain', onclick: () => { shown *= 10; fill(); } }, 'Show more');
  const search = make('input', { type: 'search', placeholder: 'Search ' + name, 'aria-label': 'Search ' + name });
  search.oninput = () => { wanted = search.value.toLowerCase(); shown = PAGE; fill(); };
  const heads = columns.map((column, at) => make('th', { class: column.text ? '' : 'number' },
    make('button', { onclick: () => {
      if (sorted === at) down = !down; else { sorted = at; down = !column.text; }
      fill();
    } }, column.title)));
  const texts = rows.map(row => columns.filter(column => column.text)
    .map(column => String(column.value(row) || '')).join(' ').toLowerCase());
  function fill() {
    heads.forEach((head, at) => {
      if (at === sorted) head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    const value = columns[sorted].value;
    const order = rows.map((_, at) => at).filter(at => texts[at].includes(wanted));
    order.sort((a, b) => {
      const left = value(rows[a]), right = value(rows[b]);
      const by = typeof left === 'number' ? left - right : String(left).localeCompare(String(right));
      return (down ? -by : by) || a - b;
    });
    body.replaceChildren(...order.slice(0, shown).map(at => line(rows[at])));
    status.textContent = count(Math.min(shown, order.length)) + ' of ' + count(order.length) +
      (order.length < rows.length ? ' that match, ' + count(rows.length) + ' in all' : '');
    more.classList.toggle('hidden', order.length <= shown);
  }
  function line(row) {
    const cells = columns.map(column => {
      const shownAs = column.show ? column.show(column.value(row), row) : column.value(row);
      const cell = make('td', { class: column.text ? 'name' : 'number' }, shownAs);
      if (column.sign && column.value(row) !== 0) cell.classList.add(column.value(row) > 0 ? 'up' : 'down');
      return cell;
    });
    const element = make('tr', {}, ...cells);
    if (details) {
      element.classList.add('open');
      element.tabIndex = 0;
      const toggle = () => {
        if (element.nextSibling && element.nextSibling.classList.contains('detail')) element.nextSibling.remove();
        else element.after(make('tr', { class: 'detail' }, make('td', { colspan: columns.length }, details(row))));
      };
      element.onclick = toggle;
      element.onkeydown = event => { if (event.key === 'Enter') toggle(); };
    }
    return element;
  }
  fill();
  return make('div', {}, make('div', { class: 'tools' }, columns.some(column => column.text) ? search : null, status, more),
    make('div', { class: 'scroll' }, make('table', {}, make('thead', {}, make('tr', {}, ...heads)), body)));
}

const titleOf = site => [site.place, site.function, site.collection].filter(part => part).join(' \u00b7 ');
function stackOf(site) {
  const frames = (site.stack || []).map(frame => frame.function + (frame.file ? '\n      ' + frame.file + (frame.line ? ':' + frame.line : '') : ''));
  const scopes = (site.scopes || []).map(scope => bytes(scope.bytes) + ' in ' + (scope.path.join(' > ') || 'no scope'));
  return make('div', {},
    scopes.length ? make('pre', {}, 'Scopes\n  ' + scopes.join('\n  ')) : null,
    make('pre', {}, 'Heaviest call stack, innermost first\n  ' + (frames.join('\n  ') || 'not recorded')));
}

// ---- pages ------------------------------------------------------------------------------------

const pages = [];
const page = (id, title, build) => pages.push({ id, title, build });

page('summary', 'Summary', () => {
  const totals = report.totals;
  const card = (title, value, note) => make('div', { class: 'card' }, title, make('b', {}, value), make('span', { class: 'faint' }, note));
  const parts = [make('div', { class: 'cards' },
    card('Live now', known(bytes)(report.live_bytes), report.live_bytes === null ? 'tracking was off for a time, or too few samples' : counted(totals.live_blocks, 'block')),
    card('Peak', known(bytes)(report.peak_bytes), report.peak_bytes === null ? 'too few samples' : 'largest live bytes'),
    card('Granted', bytes(totals.total_bytes), counted(totals.total_allocations, 'allocation')),
    card('Freed', known(bytes)(report.freed_bytes), report.freed_bytes === null ? 'too few samples' : counted(totals.total_frees, 'free')),
    card('Copied', bytes(totals.copied_bytes), counted(totals.total_reallocations, 'reallocation')),
    card('Rebuilds', count(data.findings.length), 'findings'))];
  for (const [title, figure, whole, format] of [
    ['Most bytes granted', site => site.counters.total_bytes, totals.total_bytes, bytes],
    ['Most bytes alive', site => site.counters.live_bytes, report.live_bytes, bytes],
    ['Most bytes at the peak', site => site.counters.bytes_at_peak, totals.bytes_at_peak, bytes],
    ['Most bytes in short-lived blocks, estimated', site => site.temporary_bytes, data.temporary_bytes, bytes],
    ['Most allocations', site => site.counters.total_allocations, totals.total_allocations, count]]) {
    const top = [...report.sites].sort((a, b) => figure(b) - figure(a)).slice(0, 5).filter(site => figure(site) > 0);
    if (top.length) parts.push(make('h2', {}, title), bars(top.map(site => [titleOf(site), figure(site), format(figure(site)) + (whole === null ? '' : ', ' + percent(figure(site) / (whole || 1)))])));
  }
  if (report.notes.length) parts.push(make('h2', {}, 'To know about the figures'), ...report.notes.map(note => make('p', {}, note)));
  const tracker = report.tracker;
  parts.push(make('p', { class: 'faint' }, 'Tracker\u2019s own memory, in no figure above: ' + bytes(tracker.tracker_bytes) +
    '. Threads: ' + count(tracker.threads) + '; contexts: ' + count(tracker.contexts) + '.'));
  return parts;
});

page('sites', 'Sites', () => [
  make('p', { class: 'faint' }, 'A site is a line of your own code with the collection that it builds. Temporary: in blocks freed before eight more allocations, estimated. Select a row for its call stack.' +
    (report.site_count > report.sites.length ? ' This page holds ' + count(report.sites.length) + ' of ' + count(report.site_count) + ' sites: the ' + count(data.most_sites) + ' heaviest by each column.' : '')),
  table('sites', [
    { title: 'Site', text: true, value: titleOf },
    { title: 'Bytes', first: true, value: site => site.counters.total_bytes, show: bytes },
    { title: 'Allocations', value: site => site.counters.total_allocations, show: count },
    { title: 'Live', value: site => site.counters.live_bytes, show: bytes },
    { title: 'Live blocks', value: site => site.counters.live_blocks, show: count },
    { title: 'At peak', value: site => site.counters.bytes_at_peak, show: bytes },
    { title: 'Copied', value: site => site.counters.copied_bytes, show: bytes },
    { title: 'Temporary', value: site => site.temporary_bytes, show: bytes },
  ], report.sites, stackOf)]);

page('scopes', 'Scopes', () => report.scopes.length < 2
  ? [make('p', {}, 'No scope was entered. #[track_memory] on a function makes it one.')]
  : [table('scopes', [
    { title: 'Scope', text: true, value: scope => scope.path.join(' > ') || 'whole program' },
    { title: 'Bytes', first: true, value: scope => scope.inclusive.total_bytes, show: bytes },
    { title: 'Self', value: scope => scope.own.total_bytes, show: bytes },
    { title: 'Live', value: scope => scope.inclusive.live_bytes, show: bytes },
    { title: 'Peak', value: scope => scope.peak_bytes || 0, show: (n, scope) => scope.peak_bytes === null ? '-' : bytes(n) },
    ...[['Calls', scope => scope.calls.completed, count], ['Bytes a call', scope => scope.per_call.bytes || 0, bytes],
      ['Allocations a call', scope => scope.per_call.allocations || 0, n => n.toFixed(1)],
      ['Retained a call', scope => scope.per_call.retained_bytes || 0, bytes],
      // The whole program is no call, and a call that has not ended has no figures yet.
    ].map(([title, value, format]) => ({ title, value, show: (n, scope) => scope.calls.completed ? format(n) : '-' })),
  ], report.scopes, scope => make('pre', {}, scope.file ? scope.file + ':' + scope.line : 'the program'))]);

page('flame-graph', 'Flame graph', () => {
  const { figures, names, nodes } = data.flame;
  const children = nodes.map(() => []);
  nodes.forEach(([parent], at) => { if (at > 0) children[parent].push(at); });
  let figure = 0, top = 0, wanted = '';
  const graph = make('div', { id: 'flame' });
  const status = make('p', { class: 'faint', role: 'status' });
  const choose = make('select', { 'aria-label': 'Figure', onchange: () => { figure = Number(choose.value); draw(); } },
    ...figures.map(([title], at) => make('option', { value: at }, title)).filter((_, at) => nodes[0][2][at] > 0));
  const search = make('input', { type: 'search', placeholder: 'Search functions', 'aria-label': 'Search functions' });
  search.oninput = () => { wanted = search.value.toLowerCase(); draw(); };
  const reset = make('button', { class: 'plain', onclick: () => { top = 0; draw(); } }, 'Whole program');
  const size = (n) => figures[figure][1] ? bytes(n) : count(n);
  function hue(text) {
    let hash = 7;
    for (const c of text) hash = (hash * 31 + c.charCodeAt(0)) % 997;
    return 'hsl(' + (18 + hash % 42) + ' ' + (70 + hash % 20) + '% ' + (66 + hash % 10) + '%)';
  }
  function draw() {
    const elements = [], whole = nodes[top][2][figure];
    let depth = 0, found = 0;
    const around = [];
    for (let at = top; at !== 0; at = nodes[at][0]) around.unshift(nodes[at][0]);
    const put = (at, left, width, row, isAround) => {
      const text = at === 0 ? 'whole program' : names[nodes[at][1]][0];
      const isFound = wanted && text.toLowerCase().includes(wanted);
      const value = nodes[at][2][figure];
      const [, file, line] = at === 0 ? ['', '', 0] : names[nodes[at][1]];
      const element = make('button', {
        title: text + '\n' + size(value) + ', ' + percent(value / (nodes[0][2][figure] || 1)) + ' of all' + (file ? '\n' + file + (line ? ':' + line : '') : ''),
        style: 'left:' + (100 * left) + '%;width:' + (100 * width) + '%;top:' + (row * 18) + 'px;background:' + hue(text),
        class: (isFound ? 'found ' : '') + (isAround ? 'around' : ''),
        onclick: () => { top = at; draw(); },
      }, text);
      elements.push(element);
      depth = Math.max(depth, row + 1);
    };
    around.forEach((at, row) => put(at, 0, 1, row, true));
    // Without recursion: stacks are deep. The outermost match of a path counts once.
    const pending = [[top, 0, 1, around.length, false]];
    while (pending.length && whole > 0) {
      const [at, left, width, row, inside] = pending.pop();
      put(at, left, width, row, false);
      const matches = wanted && at !== 0 && names[nodes[at][1]][0].toLowerCase().includes(wanted);
      if (matches && !inside) found += nodes[at][2][figure];
      let from = left;
      for (const child of children[at].sort((a, b) => nodes[b][2][figure] - nodes[a][2][figure])) {
        const part = nodes[child][2][figure] / whole;
        if (part > 0.0005) pending.push([child, from, part, row + 1, inside || matches]);
        from += part;
      }
    }
    graph.replaceChildren(...elements);
    graph.style.height = (depth * 18) + 'px';
    status.textContent = size(whole) + (wanted ? '; ' + size(found) + ' (' + percent(whole ? found / whole : 0) + ') in functions that match' : '') +
      '. Select a box to enlarge it.';
  }
  draw();
  return [make('div', { class: 'tools' }, choose, search, reset), status, graph];
});

if (data.series.length > 1) page('timeline', 'Timeline', () => {
  const points = data.series, width = 1000, height = 300, left = 90, bottom = 30;
  const last = points[points.length - 1], start = points[0].uptime_ms;
  const most = Math.max(...points.map(point => point.peak_bytes), 1);
  const x = point => left + (width - left - 20) * (last.uptime_ms > start ? (point.uptime_ms - start) / (last.uptime_ms - start) : points.indexOf(point) / (points.length - 1));
  const y = value => 15 + (height - bottom - 15) * (1 - value / most);
  const draw = (tag, attributes, text) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const chart = draw('svg', { class: 'chart', viewBox: '0 0 ' + width + ' ' + height, preserveAspectRatio: 'none', role: 'img', 'aria-label': 'live bytes over time' });
  for (let step = 0; step <= 4; step += 1) {
    const value = most * step / 4;
    chart.append(draw('line', { class: 'grid', x1: left, x2: width - 20, y1: y(value), y2: y(value) }),
      draw('text', { x: left - 8, y: y(value) + 4, 'text-anchor': 'end' }, bytes(value)));
  }
  // What is unknown is a gap.
  const isKnown = (point, figure) => point !== undefined && point[figure] !== null;
  const path = figure => points.map((point, at) => !isKnown(point, figure) ? '' :
    (isKnown(points[at - 1], figure) ? 'L' : 'M') + x(point).toFixed(1) + ' ' + y(point[figure]).toFixed(1)).join('');
  chart.append(draw('path', { class: 'peak', d: path('peak_bytes') }), draw('path', { class: 'live', d: path('live_bytes') }));
  for (const point of points.filter(point => point.live_bytes !== null)) {
    const dot = draw('circle', { cx: x(point), cy: y(point.live_bytes), r: 4 });
    dot.append(draw('title', {}, duration(point.uptime_ms) + ': ' + bytes(point.live_bytes)));
    chart.append(dot);
  }
  chart.append(draw('text', { x: left, y: height - 8 }, duration(start)), draw('text', { x: width - 20, y: height - 8, 'text-anchor': 'end' }, duration(last.uptime_ms)));
  return [make('p', { class: 'faint' }, 'Live bytes (line) and the peak so far (dashed) at each snapshot of this run.'), chart,
    table('snapshots', [
      { title: 'After start', first: true, value: point => point.uptime_ms, show: duration },
      { title: 'Live', value: point => orLeast(point.live_bytes), show: known(bytes) },
      { title: 'Live blocks', value: point => orLeast(point.live_blocks), show: known(count) },
      { title: 'Peak', value: point => point.peak_bytes, show: bytes },
      { title: 'Granted', value: point => point.total_bytes, show: bytes },
      { title: 'Allocations', value: point => point.total_allocations, show: count },
    ], points)];
});

page('rebuilds', 'Rebuilds', () => [
  ...data.finding_notes.map(note => make('p', { class: 'faint' }, note)),
  ...(data.findings.length ? [] : [make('p', {}, 'No collection was found to be rebuilt in iteration after iteration.')]),
  ...data.findings.map((finding, at) => {
    const element = make('details', {}, make('summary', {}, make('span', { class: 'severity', title: 'severity, 0 to 100' }, String(finding.severity)),
      make('b', {}, finding.verdict), '  ' + titleOf(finding)), make('pre', {}, finding.text));
    element.open = at === 0;
    return element;
  })]);

page('sizes', 'Sizes and lifetimes', () => [
  make('h2', {}, 'Allocations by size'),
  make('p', { class: 'faint' }, 'Call stacks by their mean size: sizes of single blocks are not recorded.'),
  bars(data.sizes.map(size => [bytes(size.from) + ' to ' + bytes(size.to), size.allocations, size.allocations ? counted(size.allocations, 'allocation') + ', ' + bytes(size.bytes) + ', ' + bytes(size.live_bytes) + ' alive' : 'none'])),
  make('h2', {}, 'Blocks by how soon they were freed'),
  make('p', { class: 'faint' }, 'Of the blocks that were followed, a sample: allocations by the same thread between a block\u2019s own and its free.'),
  data.lifetimes.length ? bars(data.lifetimes.map(row => [row.freed_after, row.blocks, counted(row.blocks, 'block')])) : make('p', {}, 'No block was followed.')]);

if (data.diff) page('difference', 'Difference', () => {
  const diff = data.diff, parts = [];
  const [liveBefore, liveAfter] = data.live_of_diff;
  const side = (which, live) => which.process.executable + ', pid ' + which.process.pid + ', ' + duration(which.uptime_ms) + ' after start, ' + known(bytes)(live) + ' alive';
  parts.push(make('p', {}, 'Before: ' + side(diff.before, liveBefore)), make('p', {}, 'After: ' + side(diff.after, liveAfter)));
  parts.push(...diff.notes.map(note => make('p', { class: 'faint' }, note)));
  const meanings = { retained: 'Retained: allocated since, alive now', churn: 'Churn: allocated since, freed since', older: 'Older blocks: there before, changed since', net: 'Live bytes, after minus before', granted: 'Bytes granted, after minus before' };
  const figure = { retained: c => c.window.retained_bytes, churn: c => c.window.churn_bytes, older: c => c.window.older_bytes, net: c => c.net_bytes, granted: c => c.bytes };
  for (const view of Object.keys(meanings).filter(view => diff.sites[view])) {
    const sites = diff.sites[view];
    // What is retained, or was for a while, is an amount; the others are changes.
    const change = view !== 'retained' && view !== 'churn';
    parts.push(make('h2', {}, meanings[view] || view));
    if (sites.length === data.most_sites && diff.site_count > sites.length) {
      parts.push(make('p', { class: 'faint' }, 'This page holds the ' + count(sites.length) + ' heaviest of them; ' + count(diff.site_count) + ' sites changed in all.'));
    }
    if (!sites.length) { parts.push(make('p', { class: 'faint' }, 'none')); continue; }
    parts.push(table(view, [
      { title: 'Site', text: true, value: titleOf },
      { title: view[0].toUpperCase() + view.slice(1), first: true, sign: change, value: site => figure[view](site.change), show: change ? n => signed(n, bytes) : bytes },
      { title: 'Net', sign: true, value: site => site.change.net_bytes, show: n => signed(n, bytes) },
      { title: 'Net blocks', value: site => site.change.net_blocks, show: n => signed(n, count) },
      { title: 'Granted', value: site => site.change.bytes, show: n => signed(n, bytes) },
      { title: 'Allocations', value: site => site.change.allocations, show: n => signed(n, count) },
    ], sites, stackOf));
  }
  return parts;
});

function bars(rows) {
  const most = Math.max(...rows.map(row => row[1]), 1);
  return make('table', { class: 'bars' }, make('tbody', {}, ...rows.map(([name, value, text]) => {
    const bar = make('div');
    bar.style.width = (100 * value / most) + '%';
    return make('tr', {}, make('td', { class: 'name' }, name), make('td', { class: 'bar' }, value > 0 ? bar : null), make('td', { class: 'number' }, text));
  })));
}

// ---- the frame --------------------------------------------------------------------------------

const main = document.getElementById('main'), tabs = document.getElementById('tabs');
function show() {
  const wanted = pages.find(one => '#' + one.id === location.hash) || pages[0];
  for (const tab of tabs.children) tab.setAttribute('aria-selected', String(tab.dataset.page === wanted.id));
  wanted.built = wanted.built || make('section', { id: 'page-' + wanted.id }, ...wanted.build());
  main.replaceChildren(wanted.built);
}
for (const one of pages) {
  const tab = make('button', { role: 'tab', onclick: () => { location.hash = one.id; } }, one.title);
  tab.dataset.page = one.id;
  tabs.append(tab);
}
const process = report.process;
/** A file may say anything, also what is no date. */
function moment(ms) {
  const date = new Date(ms);
  return isNaN(date) ? 'at an unknown time' : date.toISOString().replace('T', ' ').replace(/\.\d+Z$/, '') + ' UTC';
}
document.title = 'Allocscope: ' + process.executable;
document.getElementById('title').textContent = process.executable;
document.getElementById('subtitle').textContent = 'pid ' + process.pid + ', mode ' + report.mode + ', ' + duration(report.uptime_ms) + ' after start, ' +
  moment(report.taken_at_unix_ms) + ', ' + data.exporter;
window.onhashchange = show;
show();
})();
