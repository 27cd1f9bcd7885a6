(() => {
"use strict";
// Texts of the board come from outside: they become text nodes and attributes, never markup.
const board = JSON.parse(document.getElementById("board").textContent);
const MISSING = "–";
const byId = (id) => document.getElementById(id);
const SIZES = [
  ["under 100M", (n) => n !== null && n < 1e8],
  ["100M to 500M", (n) => n !== null && n >= 1e8 && n < 5e8],
  ["500M to 2B", (n) => n !== null && n >= 5e8 && n < 2e9],
  ["2B and more", (n) => n !== null && n >= 2e9],
  ["unknown", (n) => n === null],
];
const TRAINED = [["no", (row) => row.trained !== null && !row.trained.length], ["not known to be", (row) => !row.trained || !row.trained.length], ["yes", (row) => row.trained !== null && row.trained.length > 0], ["unknown", (row) => row.trained === null]];
const KINDS = [["reranker", "Rerankers"], ["first stage", "First stage alone"], ["oracle", "Oracle"], ["published", "Published"], ["imported", "Imported"]];
const NARROW = 704; // 44rem, as in the style sheet
const AXES = [["pairs", "pairs a second"], ["latency", "seconds a query"]];
const DEFAULTS = { tab: "table", q: "", suite: "", language: "", stage: "", size: "", licence: "", trained: "", hardware: "", task: "", axis: "pairs", sort: "", hide: "", without: "", chosen: "", only: "" };
let state = { ...DEFAULTS };

// ---- small helpers

function el(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== ""));
  return node;
}

/** A name that may break between its words: SciFact|Retrieval, after slashes and underscores. */
function breakable(text) {
  return text.split(/(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[/_])/).flatMap((part, place) => (place ? [el("wbr"), part] : [part]));
}

const scaled = (measure) => (measure.startsWith("p-MRR") ? 100 : 1);

function figure(value, measure) {
  if (scaled(measure) === 1) return value.toFixed(4);
  return (value >= 0 ? "+" : "−") + Math.abs(value * 100).toFixed(2);
}

function rounded(value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3).replace(/e\+?/, "e");
}

function sizeText(n) {
  return n >= 1e9 ? `${+(n / 1e9).toPrecision(3)}B` : `${+(n / 1e6).toPrecision(3)}M`;
}

const nameOf = (row) => (row.kind === "oracle" ? "oracle" : row.name || "none (first stage alone)");
const list = (text) => text.split("\n").filter(Boolean);

// ---- the state and its link

function readLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  state = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS)) if (given.has(key)) state[key] = given.get(key);
  if (!["table", "wins", "speed", "languages"].includes(state.tab)) state.tab = "table";
}

function linkOf() {
  const changed = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  return "#" + new URLSearchParams(changed).toString();
}

function set(change) {
  state = { ...state, ...change };
  history.replaceState(null, "", linkOf() === "#" ? location.pathname + location.search : linkOf());
  render();
}

// ---- what is looked at

const found = (kind, name) => board.views.find((view) => view.kind === kind && view.name === name);

/** The columns in sight, the one to rank by, and the view whose ranks hold for it (none for a mix of two filters). */
function view() {
  const suite = found("suite", state.suite), language = found("language", state.language);
  if (suite && language) {
    const columns = language.columns.filter((c) => board.columns[c].tasks.every((task) => suite.tasks.includes(task)));
    return { key: null, columns, name: null };
  }
  return language || suite || board.views[0];
}

function tasksOfLanguages() {
  return board.languages.filter((group) => group.columns.length);
}

function hardware() {
  return board.hardware.includes(state.hardware) ? state.hardware : board.hardware[0] || "";
}

const speedOf = (row) => (row.speed && row.speed.hardware === hardware() ? row.speed : null);
const cellOf = (row, c) => row.cells[c] || null;

/** A first stage without its depth. */
const base = (stage) => stage.replace(/ top \d+$/, "");
const chosen = () => state.chosen.split(",").filter(Boolean).map(Number).filter((number) => board.rows[number]);

function passes(row) {
  if (state.only && chosen().length) return chosen().includes(board.rows.indexOf(row));
  const hidden = list(state.without);
  if (hidden.includes(row.kind)) return false;
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [nameOf(row), row.stage, row.note, row.source, row.licence || "", row.kind].join(" ").toLowerCase();
  if (!words.every((word) => text.includes(word))) return false;
  // Of others' first stages alone, whose depth nobody says, the one that is looked at stays.
  const alone = row.kind === "published" && !row.name && base(row.stage) === base(state.stage);
  if (state.stage && row.stage !== state.stage && row.kind !== "imported" && !alone) return false;
  // The first stage alone and the oracle are what the others are read against: they stay.
  if (row.kind === "oracle" || row.kind === "first stage") return true;
  const size = SIZES.find(([name]) => name === state.size), trained = TRAINED.find(([name]) => name === state.trained);
  if (size && !size[1](row.parameters)) return false;
  if (trained && !trained[1](row)) return false;
  return !state.licence || (row.licence || "unknown") === state.licence;
}

// ---- the table's columns

function allColumns() {
  const shown = view(), ranks = shown.name === null ? null : board.views.indexOf(shown);
  const languages = state.tab === "languages" ? tasksOfLanguages() : [];
  const group = languages.find((each) => each.task === state.task) || languages[0];
  const key = group ? group.whole : shown.key;
  const figures = group ? group.columns : shown.columns;
  const rank = { id: "rank", title: "Rank", cls: "rank", value: (row) => (ranks === null ? null : row.ranks[ranks] ?? null), up: true };
  const columns = group && key !== board.views[0].key ? [] : [rank];
  columns.push({ id: "name", title: "Reranker", cls: "name", value: (row) => nameOf(row).toLowerCase(), cell: nameCell, up: true });
  const stage = { id: "stage", title: "First stage", cls: "text", value: (row) => row.stage, cell: stageCell, up: true };
  const ranked = key === null ? [] : [figureColumn(key, true)];
  // On a narrow screen the figure comes before what needs scrolling.
  columns.push(...(window.innerWidth < NARROW ? [...ranked, stage] : [stage, ...ranked]));
  for (const c of figures) if (c !== key) columns.push(figureColumn(c, false, Boolean(group)));
  if (!group) columns.push(...factColumns());
  return columns;
}

function figureColumn(c, isKey, heat = false) {
  const column = board.columns[c];
  const title = heat ? column.subset : column.name === "mean" ? `mean of ${column.of}` : column.name;
  const sub = column.of > 1 && column.name !== "mean" ? `mean of ${column.of}, ${column.measure}` : column.measure;
  return { id: "c:" + column.title, title, sub, cls: "n", c, isKey, heat, value: (row) => cellOf(row, c)?.[0] ?? null };
}

function factColumns() {
  return [
    { id: "trained", title: "Trained on the data", cls: "text", value: trainedText, cell: trainedCell, up: true },
    { id: "parameters", title: "Parameters", cls: "n", value: (row) => row.parameters, shown: (row) => sizeText(row.parameters), up: true },
    { id: "licence", title: "Licence", cls: "text", value: (row) => row.licence, up: true },
    { id: "languages", title: "Languages", cls: "text", value: (row) => (row.languages ? row.languages.length : null), cell: languagesCell },
    { id: "pairs", title: "Pairs/s", cls: "n", value: (row) => speedOf(row)?.pairs ?? null, shown: (row) => rounded(speedOf(row).pairs) },
    { id: "latency", title: "Latency p50", sub: "s a query", cls: "n", value: (row) => speedOf(row)?.latency ?? null, shown: (row) => (speedOf(row).estimated ? "~" : "") + rounded(speedOf(row).latency), up: true },
    ...serviceColumns(),
  ];
}

function serviceColumns() {
  const asked = (row) => row.speed?.requests ?? null;
  if (!board.rows.some(asked)) return [];
  return [
    { id: "request", title: "Request", sub: "p50 / p95 / p99, s", cls: "n", value: (row) => asked(row)?.p50 ?? null, shown: (row) => ["p50", "p95", "p99"].map((key) => rounded(asked(row)[key])).join(" / "), up: true },
    { id: "cost", title: "Cost", sub: "a 1,000 queries", cls: "n", value: (row) => asked(row)?.cost ?? null, shown: (row) => rounded(asked(row).cost), up: true },
  ];
}

function trainedText(row) {
  if (row.kind === "oracle") return null;
  return row.trained === null ? "unknown" : row.trained.length ? "yes" : "no";
}

function trainedCell(row) {
  const text = trainedText(row);
  const of = text === "yes" && !row.source ? el("small", {}, row.trained.length > 3 ? `${row.trained.length} of ${board.tasks} tasks` : row.trained.join(", ")) : null;
  return el("td", { class: "text" + (text === "yes" ? " yes" : ""), title: text === "yes" ? row.trained.join(", ") : null }, text ?? MISSING, of);
}

function languagesCell(row) {
  const codes = row.languages;
  if (!codes || !codes.length) return el("td", { class: "text none" }, MISSING);
  return el("td", { class: "text", title: codes.join(", ") }, codes.length <= 3 ? codes.join(", ") : `${codes.length}`);
}

function nameCell(row) {
  const cited = board.sources.indexOf(row.source) + 1;
  const tag = cited ? el("span", { class: "tag", title: row.source }, el("span", {}, `${row.kind} `), `[${cited}]`) : null;
  const data = [...new Set(Object.values(row.cells).map((cell) => cell[3]).filter(Boolean))];
  const lines = [row.note, data.slice(0, 2).join("; ") + (data.length > 2 ? " …" : "")].filter(Boolean);
  const name = nameOf(row), slash = row.name ? name.lastIndexOf("/") + 1 : 0;
  const box = el("input", { type: "checkbox", "data-id": `row ${board.rows.indexOf(row)}`, "aria-label": `choose ${name}, ${row.stage}`, checked: chosen().includes(board.rows.indexOf(row)), onchange: () => choose(board.rows.indexOf(row)) });
  // A published row is one line: what else is known of it is said on demand.
  if (row.source) {
    // What tells settings of one model apart stays in sight where the name is cut.
    const [, model, setting] = /^(.*?)(\[.*\])?$/s.exec(name), own = model.slice(model.lastIndexOf("/") + 1);
    const parts = [el("span", { class: "cut" }, linked(row, [own])), setting ? el("span", { class: "set" }, setting) : null];
    return el("th", { scope: "row", class: "name", title: [name, ...lines, row.source].join("\n") }, el("div", { class: "line" }, box, parts, tag));
  }
  const owner = slash ? el("small", {}, breakable(name.slice(0, slash))) : null;
  return el("th", { scope: "row", class: "name" }, owner, box, linked(row, breakable(name.slice(slash))), tag, lines.map((line) => el("small", {}, line)));
}

/** The name, leading to the model's own page where it is named as a model hub names it. */
function linked(row, parts) {
  const model = row.name.replace(/\[.*\]$/, "");
  return /^[A-Za-z0-9][\w.-]*\/[\w.-]+$/.test(model) && !/\.(py|ya?ml)$/.test(model) ? [el("a", { href: `https://huggingface.co/${model}`, rel: "noreferrer" }, parts)] : parts;
}

function choose(number) {
  const all = chosen(), left = all.filter((each) => each !== number);
  const next = (left.length < all.length ? left : [...all, number]).join(",");
  set({ chosen: next, only: next ? state.only : "" });
}

function stageCell(row) {
  const [, name, depth] = /^(.*?)( top \d+)?$/s.exec(row.stage);
  const slash = name.lastIndexOf("/") + 1;
  if (row.source) return el("td", { class: "text", title: row.stage }, name.slice(slash) + (depth || ""));
  return el("td", { class: "text" }, slash ? el("small", {}, breakable(name.slice(0, slash))) : null, breakable(name.slice(slash)), depth ? el("small", {}, depth.trim()) : null);
}

// ---- the table

function sortOf(columns) {
  const [id, direction] = [state.sort.slice(0, state.sort.lastIndexOf(":")), state.sort.slice(state.sort.lastIndexOf(":") + 1)];
  const chosen = columns.find((column) => column.id === id);
  if (chosen) return { column: chosen, up: direction === "up" };
  const usual = columns.find((column) => column.isKey) || columns.find((column) => column.c !== undefined) || columns[0];
  return { column: usual, up: Boolean(usual.up) };
}

function compare(a, b, up) {
  if (a === null || b === null) return (a === null) - (b === null); // what is missing stands last, whichever the order
  const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b));
  return up ? order : -order;
}

const place = (row) => ({ oracle: 2, published: 1, imported: 1 })[row.kind] || 0;

/** Measured rows before others' figures and a ceiling last, until a reader sorts by a column. */
function visibleRows(columns) {
  const { column, up } = sortOf(columns);
  // Where nothing in sight was measured here, others' figures come first: dashes answer nothing.
  const here = board.rows.some((row) => passes(row) && place(row) === 0 && column.value(row) !== null);
  const apart = (a, b) => (state.sort ? 0 : here ? place(a) - place(b) : (place(a) === 2) - (place(b) === 2));
  return board.rows.filter(passes).sort((a, b) => apart(a, b) || compare(column.value(a), column.value(b), up));
}

function holding(columns) {
  const rows = board.rows.filter(passes);
  return columns.filter((column) => (column.c !== undefined ? rows.some((row) => cellOf(row, column.c)) || (column.isKey && !rows.length) : false) || ["name", "stage"].includes(column.id) || column.c === undefined && rows.some((row) => ![null, "unknown"].includes(column.value(row))));
}

function renderTable(into) {
  const every = holding(allColumns());
  const hidden = list(state.hide);
  const columns = every.filter((column) => column.id === "name" || !hidden.includes(column.id));
  const rows = visibleRows(columns);
  const sort = sortOf(columns);
  const systems = rows.filter((row) => row.kind !== "oracle");
  for (const column of columns) if (column.c !== undefined) column.range = rangeOf(systems, rows, column.c);
  const head = el("tr", {}, columns.map((column) => headCell(column, sort)));
  const body = rows.map((row, place) => {
    const rank = columns[0].id === "rank" ? columns[0].value(row) : null;
    const before = place && columns[0].id === "rank" ? columns[0].value(rows[place - 1]) : rank;
    const edge = (sort.column.isKey || sort.column.id === "rank") && rank !== before && rank !== null && before !== null;
    const reference = row.kind === "oracle" || row.kind === "first stage";
    const looks = [edge && "edge", reference && "reference", row.kind === "oracle" && "ceiling", row.source && "cited"];
    return el("tr", { class: looks.filter(Boolean).join(" ") }, columns.map((column) => bodyCell(column, row)));
  });
  const caption = el("caption", { class: "skip" }, board.title);
  into.append(el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Leaderboard" }, el("table", {}, caption, el("thead", {}, head), el("tbody", {}, body))));
  renderPicker(every, hidden);
  return rows.length;
}

// ---- who beats whom

function renderWins(into) {
  const shown = view(), number = shown.name === null ? -1 : board.views.indexOf(shown);
  const rows = board.rows.filter((row) => passes(row) && number >= 0 && row.ranks[number] !== undefined).slice(0, 40);
  const ahead = new Set((board.beats[number] || []).map(([one, other]) => `${one} ${other}`));
  if (rows.length < 2) {
    into.append(el("p", { class: "note" }, "Fewer than two rows in sight have a rank here. One suite or one language at a time has ranks."));
    return rows.length;
  }
  const at = (row) => board.rows.indexOf(row);
  const label = (row) => `${nameOf(row).split("/").pop()}${row.note ? ` (${row.note})` : ""}, ${row.stage}`;
  const head = el("tr", {}, el("th", { scope: "col" }, ""), rows.map((row, place) => el("th", { scope: "col", title: label(row) }, String(place + 1))));
  const body = rows.map((row, place) => el("tr", {}, el("th", { scope: "row", class: "name" }, `${place + 1} ${label(row)}`), rows.map((other) => {
    if (row === other) return el("td", { class: "none" }, "·");
    const won = ahead.has(`${at(row)} ${at(other)}`), lost = ahead.has(`${at(other)} ${at(row)}`);
    return el("td", { class: won ? "won" : "none", title: `${label(row)} ${won ? "beats" : lost ? "loses to" : "is not told apart from"} ${label(other)}` }, won ? "beats" : lost ? "loses" : "?");
  })));
  const words = `By ${board.columns[shown.key].title}, all pairs of rows corrected together at p ≤ 0.05; ? where the data cannot tell.`;
  into.append(el("p", {}, words), el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Who beats whom" }, el("table", { class: "wins" }, el("caption", { class: "skip" }, "Who beats whom"), el("thead", {}, head), el("tbody", {}, body))));
  return rows.length;
}

/** The rows in sight as CSV, with a link that the browser saves. */
function csvOf() {
  const columns = holding(allColumns()), quoted = (text) => `"${String(text ?? "").replace(/^(?=[=@+\t\r]|-\D)/, "'").replace(/"/g, '""')}"`;
  const head = columns.flatMap((column) => (column.c === undefined ? [column.title] : ["", " low", " high"].map((end) => board.columns[column.c].title + end)));
  const lines = visibleRows(columns).map((row) => columns.flatMap((column) => {
    if (column.id === "name") return [nameOf(row)];
    return column.c === undefined ? [column.value(row)] : (cellOf(row, column.c) || []).slice(0, 3).concat(["", "", ""]).slice(0, 3);
  }));
  return "data:text/csv;charset=utf-8," + encodeURIComponent([head, ...lines].map((line) => line.map(quoted).join(",")).join("\n") + "\n");
}

function rangeOf(systems, rows, c) {
  const means = systems.map((row) => cellOf(row, c)).filter(Boolean);
  const every = rows.map((row) => cellOf(row, c)).filter(Boolean).flatMap((cell) => [cell[0], cell[1] ?? cell[0], cell[2] ?? cell[0]]);
  const values = means.map((cell) => cell[0]);
  return { several: values.length > 1, best: Math.max(...values), worst: Math.min(...values), low: Math.min(...every), high: Math.max(...every) };
}

function headCell(column, sort) {
  const sorted = sort.column.id === column.id;
  const flip = () => set({ sort: `${column.id}:${sorted ? (sort.up ? "down" : "up") : column.up ? "up" : "down"}` });
  const arrow = sorted ? el("span", { class: "arrow", "aria-hidden": "true" }, sort.up ? "▲" : "▼") : null;
  const button = el("button", { type: "button", "data-id": column.id, onclick: flip }, breakable(column.title), arrow, column.sub ? el("small", {}, column.sub) : null);
  return el("th", { scope: "col", class: column.cls, "aria-sort": sorted ? (sort.up ? "ascending" : "descending") : null }, button);
}

function bodyCell(column, row) {
  if (column.cell) return column.cell(row);
  const value = column.value(row);
  if (value === null || value === "") return el("td", { class: column.cls + " none" }, MISSING);
  if (column.c !== undefined) return figureCell(column, row);
  return el("td", { class: column.cls }, column.shown ? column.shown(row) : String(value));
}

function figureCell(column, row) {
  const [mean, low, high, data, here] = cellOf(row, column.c);
  const { measure } = board.columns[column.c];
  const { best, worst, several, low: from, high: to } = column.range;
  const interval = low === null ? null : el("small", {}, `[${figure(low, measure)}, ${figure(high, measure)}]`);
  const cell = el("td", { class: "n" + (mean === best && several && row.kind !== "oracle" ? " best" : ""), title: data || null }, figure(mean, measure), here ? el("abbr", { title: { "=": "measured here too, within .0005", "≈": "measured here too, within .005", "≠": "measured here too, and further off than .005" }[here] }, " " + here) : null, interval);
  const at = (value) => `${to > from ? (100 * (value - from)) / (to - from) : 50}%`;
  if (column.isKey && low !== null) {
    const strip = el("div", { class: "strip", "aria-hidden": "true" }, el("i"), el("b"));
    strip.firstChild.style.left = at(low);
    strip.firstChild.style.width = `calc(${at(high)} - ${at(low)})`;
    strip.lastChild.style.left = at(mean);
    cell.append(strip);
  }
  if (column.heat && best > worst && row.kind !== "oracle") cell.style.background = `rgba(var(--tint), ${(0.3 * (mean - worst)) / (best - worst)})`;
  return cell;
}

// ---- quality against speed

const SHAPES = [
  (x, y) => `M${x - 5.5} ${y}a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0z`,
  (x, y) => `M${x - 5} ${y - 5}h10v10h-10z`,
  (x, y) => `M${x} ${y - 6.5}l6 11h-12z`,
  (x, y) => `M${x} ${y - 6.5}l6.5 6.5l-6.5 6.5l-6.5 -6.5z`,
];

/** The plot's size in pixels: a narrow screen gets a narrow plot rather than small letters. */
function frame() {
  const width = Math.max(300, Math.min(1040, byId("main").clientWidth));
  const narrow = width < 640;
  return { width, height: narrow ? 420 : 560, left: 58, right: narrow ? 12 : 230, top: 16, bottom: 52, narrow };
}

function renderPlot(into) {
  const shown = view();
  const c = shown.key ?? shown.columns[0];
  const pace = (row) => (state.axis === "latency" ? speedOf(row)?.latency : speedOf(row)?.pairs) || null;
  const rows = board.rows.filter(passes);
  const points = rows.filter((row) => pace(row) && cellOf(row, c)).map((row) => ({ row, x: pace(row), cell: cellOf(row, c) }));
  if (!points.length) {
    into.append(el("p", { class: "note" }, "No row in sight has both the figure and a speed. A speed needs every task of the board scored on one machine."));
    return 0;
  }
  const levels = rows.filter((row) => ["first stage", "oracle"].includes(row.kind) && cellOf(row, c)).map((row) => ({ name: `${row.kind === "oracle" ? "oracle" : "first stage"}, ${row.stage}`, y: cellOf(row, c)[0] }));
  const caption = el("figcaption", { "aria-live": "polite" });
  const column = board.columns[c];
  const usual = `Each point is a row, with its 95 % interval; green: nothing else is both better and faster. On ${hardware()}. Hover or tab to a point to read it.`;
  caption.textContent = usual;
  const stages = distinct(points.map((point) => point.row.stage));
  const legend = stages.map((stage, place) => el("span", {}, el("svg:svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, el("svg:path", { class: "dot", d: SHAPES[place % SHAPES.length](8, 8) })), stage));
  into.append(el("figure", {}, stages.length > 1 ? el("p", { class: "legend" }, legend) : null, drawing(points, levels, column, (text) => { caption.textContent = text || usual; }), caption));
  return points.length;
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function logTicks(low, high) {
  const all = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) for (const m of [1, 2, 5]) all.push(m * 10 ** power);
  return all.filter((value) => value >= low && value <= high);
}

function drawing(points, levels, column, tell) {
  const box = frame(), { width, height, left, right, top, bottom } = box;
  const ys = [...points.flatMap(({ cell }) => [cell[0], cell[1] ?? cell[0], cell[2] ?? cell[0]]), ...levels.map((level) => level.y)];
  const xs = points.map((point) => point.x);
  const pad = Math.max((Math.max(...ys) - Math.min(...ys)) * 0.06, 0.004);
  const [y0, y1] = [Math.min(...ys) - pad, Math.max(...ys) + pad];
  // At least a factor of ten across, so that the axis has its numbers and a small difference looks small.
  const spare = Math.max(1.3, Math.sqrt((10 * Math.min(...xs)) / Math.max(...xs)));
  const [x0, x1] = [Math.min(...xs) / spare, Math.max(...xs) * spare];
  const px = (x) => left + ((Math.log(x) - Math.log(x0)) / (Math.log(x1) - Math.log(x0))) * (width - left - right);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const line = (cls, a, b, c, d) => el("svg:line", { class: cls, x1: a, y1: b, x2: c, y2: d });
  const text = (x, y, words, cls = "", anchor = "start") => el("svg:text", { x, y, class: cls, "text-anchor": anchor }, words);
  const parts = [];
  for (const y of ticks(y0, y1, 7)) parts.push(line("grid", left, py(y), width - right, py(y)), text(left - 8, py(y) + 4, String(+(y * scaled(column.measure)).toPrecision(6)), "", "end"));
  for (const x of logTicks(x0, x1).filter((value, _, all) => !box.narrow || all.length < 6 || /^[1]/.test(value.toExponential()))) parts.push(line("grid", px(x), top, px(x), height - bottom), text(px(x), height - bottom + 18, String(+x.toPrecision(3)), "", "middle"));
  let before = -99;
  for (const level of [...levels].sort((a, b) => b.y - a.y)) {
    parts.push(line("level", left, py(level.y), width - right, py(level.y)));
    before = Math.max(py(level.y), before + 14);
    const shown = level.name.length > 36 ? level.name.slice(0, 35) + "…" : level.name;
    parts.push(box.narrow ? text(width - right, py(level.y) - 4, shown, "", "end") : text(width - right + 8, before + 4, shown));
  }
  const quick = state.axis === "latency" ? (a, b) => a.x <= b.x : (a, b) => a.x >= b.x;
  const ahead = points.filter((point) => !points.some((other) => other !== point && quick(other, point) && other.cell[0] >= point.cell[0] && (other.x !== point.x || other.cell[0] > point.cell[0])));
  const front = [...ahead].sort((a, b) => a.x - b.x).map((point) => `${px(point.x).toFixed(1)},${py(point.cell[0]).toFixed(1)}`);
  parts.push(el("svg:polyline", { class: "front", points: front.join(" ") }));
  parts.push(...marks({ points, ahead, column, px, py, tell, line, text, box }));
  parts.push(text((left + width - right) / 2, height - 8, `${AXES.find(([id]) => id === state.axis)[1]} (logarithmic)`, "axis", "middle"));
  parts.push(el("svg:text", { class: "axis", "text-anchor": "middle", transform: `translate(16 ${(height - bottom + top) / 2}) rotate(-90)` }, column.title));
  return el("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${column.title} against speed` }, parts);
}

function marks({ points, ahead, column, px, py, tell, line, text, box: plot }) {
  const stages = distinct(points.map((point) => point.row.stage));
  const taken = points.map((point) => ({ x: px(point.x) - 6, y: py(point.cell[0]) - 6, w: 12, h: 12 }));
  const sorted = [...points].sort((a, b) => ahead.includes(b) - ahead.includes(a) || b.cell[0] - a.cell[0]);
  return sorted.map((point) => {
    const { row, cell } = point, x = px(point.x), y = py(cell[0]);
    const interval = cell[1] === null ? "" : ` [${figure(cell[1], column.measure)}, ${figure(cell[2], column.measure)}]`;
    const words = `${nameOf(row)}${row.note ? ` (${row.note})` : ""}, ${row.stage}: ${figure(cell[0], column.measure)}${interval}, ${rounded(point.x)} ${AXES.find(([id]) => id === state.axis)[1]}`;
    const parts = [];
    if (cell[1] !== null) parts.push(line("bar", x, py(cell[1]), x, py(cell[2])));
    parts.push(el("svg:path", { class: "dot" + (ahead.includes(point) ? " ahead" : ""), d: SHAPES[stages.indexOf(row.stage) % SHAPES.length](x, y) }));
    const short = nameOf(row).split("/").pop(), shown = short.length > 30 ? short.slice(0, 29) + "…" : short;
    const spots = [[9, 4, "start"], [-9, 4, "end"], [9, -8, "start"], [9, 16, "start"]];
    for (const [dx, dy, anchor] of spots) {
      const w = shown.length * 6.6, box = { x: anchor === "start" ? x + dx : x + dx - w, y: y + dy - 11, w, h: 14 };
      const free = box.x > plot.left && box.x + w < plot.width && !taken.some((o) => o.x < box.x + box.w && box.x < o.x + o.w && o.y < box.y + box.h && box.y < o.y + o.h);
      if (free) { taken.push(box); parts.push(text(x + dx, y + dy, shown, "label", anchor)); break; }
    }
    const said = { onfocus: () => tell(words), onblur: () => tell(""), onmouseenter: () => tell(words), onmouseleave: () => tell("") };
    return el("svg:g", { tabindex: "0", role: "img", "aria-label": words, class: "point", ...said }, el("svg:title", {}, words), parts);
  });
}

// ---- the controls

function options(id, label, entries) {
  const select = byId(id);
  select.replaceChildren(...[...(label === null ? [] : [["", label]]), ...entries].map(([value, text]) => el("option", { value }, text)));
  select.value = state[id];
  if (select.selectedIndex < 0) select.selectedIndex = 0;
  select.classList.toggle("active", label !== null && select.value !== "");
  select.closest("label").hidden = entries.length < (label === null ? 2 : 1);
}

const distinct = (values) => [...new Set(values)].sort((a, b) => a.localeCompare(b));
const plain = (values) => values.map((value) => [value, value]);

function renderControls() {
  const models = board.rows.filter((row) => row.kind !== "oracle" && row.kind !== "first stage");
  const language = (code) => { try { return `${new Intl.DisplayNames(["en"], { type: "language" }).of(code)} (${code})`; } catch { return code; } };
  const stages = distinct(board.rows.filter((row) => row.kind !== "imported" && !(row.kind === "published" && !row.name)).map((row) => row.stage));
  options("suite", "all tasks", plain(board.views.filter((each) => each.kind === "suite").map((each) => each.name)));
  options("language", "all", board.views.filter((each) => each.kind === "language").map((each) => [each.name, language(each.name)]));
  options("stage", "all", stages.length > 1 ? plain(stages) : []);
  options("size", "any", models.some((row) => row.parameters !== null) ? plain(SIZES.map(([name]) => name)) : []);
  options("licence", "any", models.some((row) => row.licence) ? plain(distinct(models.map((row) => row.licence || "unknown"))) : []);
  options("trained", "any", models.some((row) => row.trained !== null) ? plain(TRAINED.map(([name]) => name)) : []);
  options("hardware", null, plain(board.hardware));
  options("task", null, plain(tasksOfLanguages().map((group) => group.task)));
  options("axis", null, AXES);
  if (document.activeElement !== byId("q")) byId("q").value = state.q;
  const languages = state.tab === "languages";
  const off = { suite: languages, language: languages, hardware: languages || state.tab === "wins", task: !languages, axis: state.tab !== "speed" };
  for (const [id, hidden] of Object.entries(off)) if (hidden) byId(id).closest("label").hidden = true;
  byId("picker").hidden = ["speed", "wins"].includes(state.tab);
  byId("chosen").hidden = !chosen().length;
  byId("chosen").textContent = state.only ? `All rows again` : `Only the chosen (${chosen().length})`;
  byId("chosen").setAttribute("aria-pressed", String(Boolean(state.only)));
  byId("csv").setAttribute("href", csvOf());
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.dataset.tab === state.tab;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  byId("tab-languages").hidden = !tasksOfLanguages().length;
  byId("tab-speed").hidden = !board.hardware.length;
  byId("tab-wins").hidden = !board.beats.some((pairs) => pairs.length);
  byId("main").setAttribute("aria-labelledby", `tab-${state.tab}`);
  byId("link").setAttribute("href", linkOf());
}

function renderPicker(columns, hidden) {
  const box = (id, text, checked, change) => el("label", {}, el("input", { type: "checkbox", "data-id": `box ${id}`, checked, onchange: (event) => change(event.target.checked) }), text);
  const toggled = (all, id, on) => (on ? all.filter((each) => each !== id) : [...all, id]).join("\n");
  const picked = columns.filter((column) => column.id !== "name");
  byId("columns").replaceChildren(...picked.map((column) => box(column.id, [column.title, column.sub].filter(Boolean).join(" "), !hidden.includes(column.id), (on) => set({ hide: toggled(hidden, column.id, on) }))));
  const without = list(state.without);
  const there = KINDS.filter(([kind]) => board.rows.some((row) => row.kind === kind));
  byId("kinds").replaceChildren(...there.map(([kind, text]) => box(kind, text, !without.includes(kind), (on) => set({ without: toggled(without, kind, on) }))));
  byId("every").onclick = () => set({ hide: "" });
  byId("none").onclick = () => set({ hide: picked.map((column) => column.id).join("\n") });
}

function render() {
  const focused = document.activeElement?.dataset?.id;
  const place = document.querySelector(".wide");
  const [x, y] = place ? [place.scrollLeft, place.scrollTop] : [0, 0];
  renderControls();
  const main = byId("main");
  main.replaceChildren();
  const count = { speed: renderPlot, wins: renderWins }[state.tab]?.(main) ?? renderTable(main);
  byId("count").textContent = state.tab === "speed" ? `${count} of ${board.rows.length} rows have this figure and a speed` : state.tab === "wins" ? `${count} rows have a rank` : `${count} of ${board.rows.length} rows`;
  const again = document.querySelector(".wide");
  if (again) again.scrollTo(x, y);
  if (focused) [...document.querySelectorAll("[data-id]")].find((node) => node.dataset.id === focused)?.focus({ preventScroll: true });
}

// ---- light and dark

const THEMES = ["", "light", "dark"];

function showTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  byId("theme").textContent = `Theme: ${theme || "system"}`;
}

function keptTheme() {
  try { return localStorage.getItem("theme") || ""; } catch { return ""; } // a browser may refuse storage to files
}

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % 3];
  try { localStorage.setItem("theme", next); } catch { /* it lasts as long as the page */ }
  showTheme(next);
}

// ---- start

function start() {
  readLink();
  showTheme(keptTheme());
  byId("theme").addEventListener("click", nextTheme);
  byId("app").hidden = false;
  byId("facts").textContent = `${board.rows.length} rows, ranked by ${board.ranked}. ${board.made}`.trim();
  for (const id of ["suite", "language", "stage", "size", "licence", "trained", "hardware", "task", "axis"]) byId(id).addEventListener("change", (event) => set({ [id]: event.target.value }));
  byId("q").addEventListener("input", (event) => set({ q: event.target.value }));
  byId("more").addEventListener("click", () => {
    const open = byId("controls").classList.toggle("open");
    byId("more").setAttribute("aria-expanded", String(open));
  });
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; render(); } });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("chosen").addEventListener("click", () => set({ only: state.only ? "" : "yes" }));
  byId("reset").addEventListener("click", () => set({ ...DEFAULTS, tab: state.tab }));
  byId("link").addEventListener("click", copyLink);
  byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("main").focus(); });
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const tab of tabs) {
    tab.addEventListener("click", () => set({ tab: tab.dataset.tab, sort: "" }));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const there = tabs.filter((each) => !each.hidden);
      const next = there[(there.indexOf(tab) + step + there.length) % there.length];
      next.click();
      next.focus();
    });
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && byId("picker").open) { byId("picker").open = false; byId("picker").firstElementChild.focus(); } });
  document.addEventListener("click", (event) => { if (event.target.isConnected && !byId("picker").contains(event.target)) byId("picker").open = false; });
  window.addEventListener("hashchange", () => { readLink(); render(); });
  render();
}

function copyLink(event) {
  event.preventDefault();
  const link = byId("link"), usual = "Link to this view";
  history.replaceState(null, "", linkOf());
  const said = (text) => { link.textContent = text; link.addEventListener("blur", () => { link.textContent = usual; }, { once: true }); };
  if (navigator.clipboard) navigator.clipboard.writeText(location.href).then(() => said("Copied"), () => said("It is in the address bar"));
  else said("It is in the address bar");
}

start();
})();
