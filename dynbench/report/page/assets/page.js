"use strict";
// The page's script: charts, and the table's sorting, filtering, pinning and copying. It asks no server for anything and
// keeps nothing. Whatever comes from records is put into the page as text, never as markup.

// Figures and texts: nothing here knows of a page, so that node can test it.

/** Round steps between two values: five or so; on a logarithmic axis 1, 2 and 5 of each decade, or more where few fit. */
function ticks(low, high, log) {
  if (log) {
    for (const parts of [[1], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        found.push(...parts.map((part) => Number((part * 10 ** power).toPrecision(3))));
      }
      const inside = found.filter((one) => one >= low && one <= high);
      if (inside.length >= 4) return inside.length > 9 ? inside.filter((_, index) => index % 2 === 0) : inside;
    }
    // Less than half a decade: steps as on a linear axis.
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

/** Where values are drawn, with room at both ends. */
function scale(values, from, to, log) {
  const usable = log ? values.filter((one) => one > 0) : values;
  let low = Math.min(...usable);
  let high = Math.max(...usable);
  if (!Number.isFinite(low)) [low, high] = [1, 10];
  if (log) {
    const room = Math.max((high / low) ** 0.06, 1.05);
    [low, high] = [low / room, high * room];
  } else {
    const room = 0.06 * (high - low) || 0.1 * Math.abs(high) || 1;
    [low, high] = [low - room, high + room];
  }
  const flat = log ? Math.log : (one) => one;
  const place = (value) => from + ((to - from) * (flat(log ? Math.max(value, low) : value) - flat(low))) / (flat(high) - flat(low));
  return { low, high, place, ticks: ticks(low, high, log) };
}

/** Order of two cells, (text, number) each: numbers before words, rising; what is empty comes last either way. */
function compareCells(one, other, down) {
  const empty = (cell) => cell.number === null && cell.text === "";
  if (empty(one) || empty(other)) return Number(empty(one)) - Number(empty(other));
  const order =
    one.number !== null && other.number !== null
      ? one.number - other.number
      : compareNames(one.text, other.text);
  return down ? -order : order;
}

/** Order of two names: numbers in them by what they say, so that `l1=0.03` comes before `l1=0.1`. */
function compareNames(one, other) {
  const [these, those] = [one, other].map((text) => text.split(/(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/));
  for (let at = 0; at < Math.min(these.length, those.length); at++) {
    const order = at % 2 ? Number(these[at]) - Number(those[at]) : these[at].localeCompare(those[at], "en");
    if (order) return order;
  }
  return these.length - those.length;
}

/** Whether a row's text has every word that is looked for. */
function matches(text, asked) {
  const inside = text.toLowerCase();
  return asked.toLowerCase().split(/\s+/).every((word) => inside.includes(word));
}

const FORMATS = {
  csv: (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n",
  markdown: ([head, ...rows]) =>
    [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(markdownCell).join(" | ")} |`).join("\n") + "\n",
  latex: ([head, ...rows]) =>
    [
      `\\begin{tabular}{${"l".repeat(head.length)}}`,
      "\\toprule",
      `${head.map(latexCell).join(" & ")} \\\\`,
      "\\midrule",
      ...rows.map((row) => `${row.map(latexCell).join(" & ")} \\\\`),
      "\\bottomrule",
      "\\end{tabular}",
    ].join("\n") + "\n",
};

function csvCell(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function markdownCell(text) {
  return text.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replaceAll("<", "&lt;").replace(/\s+/g, " ");
}

const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$" };

function latexCell(text) {
  return text.replace(/[\\~^±&%$#_{}]/g, (letter) => LATEX[letter] ?? `\\${letter}`);
}

const CIRCLE = "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z";
const SHAPES = [
  CIRCLE,
  "M-4.5 -4.5H4.5V4.5H-4.5Z",
  "M0 -6L5.5 4.5H-5.5Z",
  "M0 -6.3L6.3 0L0 6.3L-6.3 0Z",
  "M0 6L5.5 -4.5H-5.5Z",
  "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
  "M0 -6.5L1.9 -2L6.5 -2L2.8 1L4.2 6L0 3L-4.2 6L-2.8 1L-6.5 -2L-1.9 -2Z",
  "M-3 -5.5H3L6 0L3 5.5H-3L-6 0Z",
];

if (typeof module !== "undefined") module.exports = { FORMATS, SHAPES, compareCells, matches, scale, ticks };

// The page

const ROWS_SHOWN = 200; // more make a long page: a button shows them

function element(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "text", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The table: its rows by number, and what is pinned. Charts ask it what to say of a row, and hear when that changes. */
class ResultsTable {
  constructor() {
    this.table = document.getElementById("table");
    this.body = this.table.tBodies[0];
    this.rows = new Map([...this.body.rows].map((row) => [Number(row.dataset.row), row]));
    this.headers = [...this.table.tHead.rows[0].cells].map((cell) => cell.textContent);
    this.pinned = new Set();
    this.listeners = [];
    this.everything = false;
    for (const [index, cell] of [...this.table.tHead.rows[0].cells].entries()) {
      const button = element("button", { type: "button" }, cell.textContent);
      button.addEventListener("click", () => this.sort(index, cell));
      cell.replaceChildren(button);
    }
    const words = new Set([...this.body.querySelectorAll(".badge")].map((one) => one.textContent));
    this.badge = document.getElementById("badge");
    this.badge.append(...[...words].sort().map((word) => element("option", {}, word)));
    this.find = document.getElementById("find");
    for (const name of ["find", "badge", "pinned"]) document.getElementById(name).addEventListener("input", () => this.filter());
    document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("all").addEventListener("click", () => {
      this.everything = true;
      this.filter();
    });
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", () => this.copy(button.dataset.copy));
    }
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row && !String(document.getSelection())) this.pin(Number(row.dataset.row));
    });
    this.filter();
  }

  cell(row, index) {
    const cell = row.cells[index];
    return { text: cell.textContent, number: cell.dataset.value === undefined ? null : Number(cell.dataset.value) };
  }

  /** Header and value of every cell that is not empty. */
  facts(number) {
    const row = this.rows.get(number);
    return this.headers.map((header, index) => [header, row.cells[index].textContent]).filter(([, value]) => value);
  }

  sort(index, header) {
    const down = header.ariaSort === "ascending";
    for (const cell of this.table.tHead.rows[0].cells) cell.ariaSort = "none";
    header.ariaSort = down ? "descending" : "ascending";
    const keyed = [...this.body.rows].map((row) => [this.cell(row, index), row]);
    keyed.sort(([one], [other]) => compareCells(one, other, down));
    this.body.append(...keyed.map(([, row]) => row));
    this.filter();
  }

  matching(row) {
    const badge = this.badge.value;
    return (
      matches(row.textContent, this.find.value) &&
      (!badge || [...row.querySelectorAll(".badge")].some((one) => one.textContent === badge)) &&
      (!document.getElementById("pinned").checked || this.pinned.has(Number(row.dataset.row)))
    );
  }

  filter() {
    this.chosen = [...this.body.rows].filter((row) => this.matching(row));
    const shown = new Set(this.everything ? this.chosen : this.chosen.slice(0, ROWS_SHOWN));
    for (const row of this.body.rows) row.hidden = !shown.has(row);
    document.getElementById("all").hidden = shown.size === this.chosen.length;
    document.getElementById("count").textContent =
      `${this.chosen.length} of ${this.rows.size} rows` + (shown.size < this.chosen.length ? `, the first ${shown.size} shown` : "");
    this.changed();
  }

  pin(number) {
    if (!this.pinned.delete(number)) this.pinned.add(number);
    this.rows.get(number).classList.toggle("pinned", this.pinned.has(number));
    if (document.getElementById("pinned").checked) this.filter();
    else this.changed();
  }

  changed() {
    const inside = new Set(this.chosen.map((row) => Number(row.dataset.row)));
    for (const listener of this.listeners) listener(inside);
  }

  /** Rows that match, as text: into the clipboard where the browser allows it, and always where it can be taken from. */
  copy(format) {
    const cells = (row) => [...row.cells].map((cell) => cell.textContent.trim());
    const text = document.getElementById("text");
    text.value = FORMATS[format]([this.headers, ...this.chosen.map(cells)]);
    document.getElementById("copied").hidden = false;
    text.focus();
    text.select();
    const copied = document.execCommand("copy"); // also in a sandboxed frame, where navigator.clipboard is refused
    document.getElementById("count").textContent = `${this.chosen.length} rows as ${format}` + (copied ? ", copied" : ": copy them from the field below");
  }
}

/** What is said of the row that is pointed at, and of those that are pinned. */
class Details {
  constructor(table) {
    this.table = table;
    this.place = document.getElementById("details");
    this.hint = [...(this.place?.children ?? [])];
    this.near = null;
    table.listeners.push(() => this.draw());
  }

  point(number) {
    if (this.near !== null) this.table.rows.get(this.near).classList.remove("near");
    this.near = number;
    if (number !== null) this.table.rows.get(number).classList.add("near");
    this.draw();
  }

  draw() {
    if (!this.place) return;
    const pinned = [...this.table.pinned];
    const shown = this.near === null || this.table.pinned.has(this.near) ? pinned : [this.near, ...pinned];
    this.place.replaceChildren(...(shown.length ? shown.map((number) => this.card(number)) : this.hint));
  }

  card(number) {
    const [[, name], ...facts] = this.table.facts(number);
    const list = element("dl", {}, ...facts.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, element("bdi", {}, value))]));
    const pinned = this.table.pinned.has(number);
    const title = element("h3", {}, element("bdi", {}, name), pinned ? " (pinned)" : "");
    return element("article", { class: pinned ? "pinned" : "", "data-card": number }, title, list);
  }
}

/** A chart of the views of one name; a select says which is drawn. */
class Chart {
  constructor(name, views, looks, table, details) {
    Object.assign(this, { name, views, looks, table, details });
    this.place = document.getElementById(`${name}-chart`);
    this.select = document.getElementById(`${name}-view`);
    this.log = document.getElementById(`${name}-log`);
    this.quoted = document.getElementById(`${name}-quoted`);
    this.number = new Map(looks.map((look, index) => [look.method, index]));
    this.select.addEventListener("input", () => {
      this.log.checked = this.view.x.log;
      this.draw();
    });
    for (const input of [this.log, this.quoted]) input?.addEventListener("input", () => this.draw());
    this.place.addEventListener("keydown", (event) => this.key(event));
    this.table.listeners.push((inside) => this.update(inside));
    this.inside = null;
    new ResizeObserver(() => this.draw()).observe(this.place);
  }

  get view() {
    return this.views[Number(this.select.value)];
  }

  draw() {
    const { width, height } = this.place.getBoundingClientRect();
    if (!width || !height) return;
    const view = this.view;
    const quoted = !this.quoted || this.quoted.checked ? view.quoted : [];
    const log = this.log.checked;
    const margin = { left: 48, right: 12, top: 22, bottom: 42 };
    const level = view.diagonal ? [1] : [];
    const x = scale([...view.points.flatMap((one) => one.x), ...quoted.map((one) => one.x), ...level], margin.left, width - margin.right, log);
    const heights = [...view.points.flatMap((one) => one.y), ...quoted.map((one) => one.y), ...view.lines.map((one) => one.y), ...level];
    const y = scale(heights, height - margin.bottom, margin.top, log && view.y.log);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": null });
    svg.append(...this.axes(view, x, y, width, height, margin), ...this.levels(view, x, y, width, margin));
    const points = [...view.points].sort((one, other) => one.x[0] - other.x[0]);
    svg.append(...this.ties(points, x, y), ...this.front(points, x, y), ...quoted.map((one) => this.hollow(one, x, y)));
    this.marks = points.map((one) => this.mark(one, x, y));
    svg.append(...points.map((one) => this.bars(one, x, y)), ...this.marks);
    this.marks[0]?.setAttribute("tabindex", "0");
    this.place.replaceChildren(svg);
    this.key_(points, quoted);
    this.update(this.inside);
  }

  axes(view, x, y, width, height, { left, right, top, bottom }) {
    const below = height - bottom;
    const parts = [];
    let last = -Infinity;
    for (const tick of x.ticks) {
      const at = x.place(tick);
      parts.push(element("path", { class: "tick", d: `M${at} ${top}V${below}` }));
      if (at - last > 38) parts.push(element("text", { x: (last = at), y: below + 16, "text-anchor": "middle" }, String(tick)));
    }
    for (const tick of y.ticks) {
      const at = y.place(tick);
      parts.push(element("path", { class: "tick", d: `M${left} ${at}H${width - right}` }));
      parts.push(element("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, String(tick)));
    }
    parts.push(element("path", { class: "axis", d: `M${left} ${top}V${below}H${width - right}` }));
    parts.push(element("text", { x: width - right, y: height - 6, "text-anchor": "end" }, view.x.label));
    parts.push(element("text", { x: 2, y: 13 }, view.y.label));
    return parts;
  }

  levels(view, x, y, width, { right, left }) {
    const parts = view.lines.flatMap((line) => [
      element("path", { class: "level", d: `M${left} ${y.place(line.y)}H${width - right}` }),
      element("text", { x: width - right, y: y.place(line.y) - 4, "text-anchor": "end" }, line.name),
    ]);
    if (view.diagonal) {
      const [low, high] = [Math.max(x.low, y.low), Math.min(x.high, y.high)];
      parts.push(element("path", { class: "axis", d: `M${left} ${y.place(1)}H${width - right}`, "stroke-dasharray": "6 4" }));
      const steps = Array.from({ length: 33 }, (_, index) => low + ((high - low) * index) / 32); // a curve on mixed axes
      parts.push(element("path", { class: "axis", d: "M" + steps.map((at) => `${x.place(at)} ${y.place(at)}`).join("L") }));
    }
    return parts;
  }

  ties(points, x, y) {
    const tied = Map.groupBy ? Map.groupBy(points, (one) => one.tie) : grouped(points, (one) => one.tie);
    return [...tied.values()]
      .filter((its) => its.length > 1)
      .map((its) => element("path", { class: `tie m${this.number.get(its[0].method)}${its[0].static ? " static" : ""}`, d: path(its, x, y) }));
  }

  front(points, x, y) {
    const its = points.filter((one) => one.front);
    return its.length > 1 ? [element("path", { class: "front", d: path(its, x, y) })] : [];
  }

  bars(point, x, y) {
    const [[at, left, right], [up, low, high]] = [point.x, point.y];
    const across = left < right ? `M${x.place(left)} ${y.place(up)}H${x.place(right)}` : "";
    const tall = low < high ? `M${x.place(at)} ${y.place(low)}V${y.place(high)}` : "";
    return element("path", { class: `bar m${this.number.get(point.method)}`, d: across + tall });
  }

  mark(point, x, y) {
    const number = this.number.get(point.method);
    const said = this.table.facts(point.row).map(([key, value]) => `${key}: ${value}`);
    const made = element("path", {
      class: `mark m${number}`,
      d: SHAPES[this.looks[number].shape],
      transform: `translate(${x.place(point.x[0])} ${y.place(point.y[0])})${point.static ? " scale(0.85)" : ""}`,
      tabindex: "-1",
      role: "button",
      "aria-label": said.slice(0, 8).join("; "),
      "data-row": point.row,
    });
    for (const name of ["pointerenter", "focus"]) made.addEventListener(name, () => this.details.point(point.row));
    for (const name of ["pointerleave", "blur"]) made.addEventListener(name, () => this.details.point(null));
    made.addEventListener("click", () => this.table.pin(point.row));
    return made;
  }

  hollow(one, x, y) {
    const title = element("title", {}, `${one.name}, quoted: ${one.text}`);
    return element("path", { class: "quoted", d: CIRCLE, transform: `translate(${x.place(one.x)} ${y.place(one.y)})`, role: "img", "aria-label": title.textContent }, title);
  }

  /** Arrow keys, Home and End go from mark to mark by rising cost; Enter and space pin. */
  key(event) {
    const at = this.marks.indexOf(event.target);
    if (at < 0) return;
    const steps = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: this.marks.length - 1 };
    if (event.key === "Enter" || event.key === " ") this.table.pin(Number(event.target.dataset.row));
    else if (event.key in steps) roam(this.marks, at, steps[event.key]);
    else return;
    event.preventDefault();
  }

  /** Marks of rows that the filter hides are faint; pinned ones are pressed. */
  update(inside) {
    this.inside = inside;
    for (const mark of this.marks ?? []) {
      const row = Number(mark.dataset.row);
      mark.classList.toggle("away", inside !== null && !inside.has(row));
      mark.setAttribute("aria-pressed", String(this.table.pinned.has(row)));
    }
  }

  key_(points, quoted) {
    const seen = new Map(points.map((one) => [one.method, one.static]));
    const entries = [...seen].map(([method, fixed]) => {
      const number = this.number.get(method);
      const drawn = element("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, element("path", { d: SHAPES[this.looks[number].shape] }));
      return element("li", { class: `m${number}` }, drawn, element("bdi", {}, method), fixed ? " (static control)" : "");
    });
    if (quoted.length) {
      const drawn = element("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, element("path", { d: CIRCLE }));
      entries.push(element("li", { class: "hollow" }, drawn, "quoted from papers"));
    }
    document.getElementById(`${this.name}-key`).replaceChildren(...entries);
  }
}

function grouped(items, by) {
  const found = new Map();
  for (const item of items) found.set(by(item), [...(found.get(by(item)) ?? []), item]);
  return found;
}

function path(points, x, y) {
  return "M" + points.map((one) => `${x.place(one.x[0]).toFixed(1)} ${y.place(one.y[0]).toFixed(1)}`).join("L");
}

/** One of several takes the focus, and the tab key finds it from now on. */
function roam(elements, from, to) {
  const next = elements[Math.min(Math.max(to, 0), elements.length - 1)];
  elements[from].setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}

/** A bin of a histogram says what is in it: under the pointer for as long as that stays, when pressed for good. */
function openBins(figure) {
  const bins = [...figure.querySelectorAll("rect")];
  const place = figure.querySelector(".opened");
  const summary = place.textContent;
  const say = (bin) => {
    const images = bin?.ariaPressed === "true" ? `. Images ${bin.dataset.images.split(" ").join(", ")} of the test split` : "";
    place.textContent = bin ? bin.getAttribute("aria-label") + images : summary;
  };
  const pressed = () => bins.find((bin) => bin.ariaPressed === "true");
  const press = (bin) => {
    const before = pressed();
    before?.setAttribute("aria-pressed", "false");
    if (bin !== before) bin.setAttribute("aria-pressed", "true");
    say(pressed());
  };
  bins.forEach((bin, at) => {
    for (const name of ["pointerenter", "focus"]) bin.addEventListener(name, () => say(bin));
    for (const name of ["pointerleave", "blur"]) bin.addEventListener(name, () => say(pressed()));
    bin.addEventListener("click", () => press(bin));
    bin.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: bins.length - 1 };
      if (event.key === "Enter" || event.key === " ") press(bin);
      else if (event.key in steps) roam(bins, at, steps[event.key]);
      else return;
      event.preventDefault();
    });
  });
}

function start() {
  const { views, looks } = JSON.parse(document.getElementById("data").textContent);
  const table = new ResultsTable();
  const details = new Details(table);
  for (const [name, its] of Object.entries(views)) if (its.length) new Chart(name, its, looks, table, details);
  document.querySelectorAll("figure:has(.histogram)").forEach(openBins);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
}

if (typeof document !== "undefined") start();
