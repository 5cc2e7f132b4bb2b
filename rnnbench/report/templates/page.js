// Sorting, filters and charts. Without scripts tables and pictures stand as written.

// Heads become buttons that sort the rows of each group.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, k) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("heading"));
        rows.sort((a, b) => compare(a.cells[k], b.cells[k], down));
        body.append(...rows);
      }
    });
  });
}
function compare(a, b, down) {
  const x = parseFloat(a.dataset.v);
  const y = parseFloat(b.dataset.v);
  if (isNaN(x) && isNaN(y))
    return down * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  if (isNaN(x)) return 1; // what is no number stays below
  if (isNaN(y)) return -1;
  return x === y ? 0 : x < y ? -down : down;
}

// Filters: a search in all rows, and a list of boxes for cells, tasks and variants, where there
// are several.
const off = { cell: new Set(), task: new Set(), variant: new Set() };
const form = document.getElementById("filters");
const search = document.createElement("input");
buildFilters();
function element(name, attributes, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}
function buildFilters() {
  Object.assign(search, { type: "search", placeholder: "Search the tables" });
  search.setAttribute("aria-label", "Search the tables");
  search.addEventListener("input", applyFilters);
  form.append(search);
  for (const [kind, title] of [
    ["cell", "Cells"],
    ["task", "Tasks"],
    ["variant", "Variants"],
  ]) {
    const rows = [...document.querySelectorAll(`tr[data-${kind}]`)];
    const values = new Set(rows.flatMap((row) => parts(row, kind)));
    if (kind === "cell") legends().forEach((entry) => values.add(entry.cell));
    if (values.size > 1) form.append(boxes(kind, title, [...values]));
  }
  const count = element("output", { id: "hidden" });
  form.append(count);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = !document.querySelector("table");
}
function parts(row, kind) {
  const value = row.dataset[kind];
  return value === undefined ? [] : kind === "variant" ? value.split("; ") : [value];
}
function legends() {
  return [...document.querySelectorAll("[data-legend]")].flatMap((node) =>
    JSON.parse(node.dataset.legend),
  );
}
function boxes(kind, title, values) {
  const all = values.map((value) => {
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      off[kind][box.checked ? "delete" : "add"](value);
      applyFilters();
    });
    return [box, element("label", {}, box, ` ${value}`)];
  });
  const switches = [
    ["all", true],
    ["none", false],
  ].map(([name, on]) => {
    const button = element("button", { type: "button", textContent: name });
    button.setAttribute("aria-label", `${title}: ${name}`);
    button.addEventListener("click", () => {
      all.forEach(([box]) => {
        box.checked = on;
      });
      off[kind] = new Set(on ? [] : values);
      applyFilters();
    });
    return button;
  });
  const list = element(
    "div",
    { className: "boxes" },
    ...switches,
    ...all.map(([, label]) => label),
  );
  return element(
    "details",
    { className: "filter" },
    element("summary", { textContent: title }),
    list,
  );
}
function applyFilters() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let hidden = 0;
  for (const row of document.querySelectorAll("tbody tr:not(.heading)")) {
    const text = row.textContent.toLowerCase();
    const stays =
      words.every((word) => text.includes(word)) &&
      ["cell", "task", "variant"].every((kind) =>
        parts(row, kind).every((value) => !off[kind].has(value)),
      );
    row.hidden = !stays;
    hidden += !stays;
  }
  for (const body of document.querySelectorAll("tbody")) {
    const heading = body.querySelector(".heading");
    if (heading) heading.hidden = [...body.rows].every((row) => row === heading || row.hidden);
  }
  for (const fold of document.querySelectorAll("details.fold")) {
    const found = fold.querySelector("tbody tr:not([hidden])");
    fold.hidden = !found;
  }
  document.getElementById("hidden").textContent = hidden ? `${hidden} rows hidden` : "";
  charts.forEach((chart) => chart.show());
}

// Charts: the picture is replaced by one that can be hovered, zoomed and thinned out when it comes
// into view.
const charts = [];
class Switched {
  constructor(figure) {
    this.figure = figure;
    this.entries = JSON.parse(figure.querySelector(".legend").dataset.legend);
    this.on = new Set(this.entries.filter((entry) => entry.on).map((entry) => entry.cell));
  }
  async draw() {
    const spec = JSON.parse(this.figure.querySelector("script").textContent);
    if (this.entries.length) withoutLegend(spec);
    const place = element("div", { className: "live" });
    this.figure.querySelector(".drawing").replaceChildren(place);
    const made = await vegaEmbed(place, spec, {
      actions: false,
      renderer: "svg",
      tooltip: { theme: "custom" },
    });
    this.view = made.view;
    if (this.entries.length > 1) this.buildLegend();
    this.show();
  }
  buildLegend() {
    const legend = this.figure.querySelector(".legend");
    this.buttons = this.entries.map((entry) => {
      const drawn = '<line x1="0" x2="24" y1="4" y2="4"/>';
      const swatch = `<svg viewBox="0 0 24 8" aria-hidden="true">${drawn}</svg>`;
      const button = element("button", { type: "button" });
      button.insertAdjacentHTML("afterbegin", swatch);
      const line = button.querySelector("line");
      line.setAttribute("stroke", entry.colour);
      line.setAttribute("stroke-dasharray", entry.dash === "1 0" ? "none" : entry.dash);
      button.append(` ${entry.cell}`);
      button.addEventListener("click", () => {
        this.on[this.on.has(entry.cell) ? "delete" : "add"](entry.cell);
        this.show();
      });
      return [entry.cell, button];
    });
    const switches = [
      ["all", () => this.entries],
      ["none", () => []],
    ].map(([name, which]) => {
      const button = element("button", { type: "button", textContent: name, className: "all" });
      button.addEventListener("click", () => {
        this.on = new Set(which().map((entry) => entry.cell));
        this.show();
      });
      return button;
    });
    legend.setAttribute("role", "group");
    legend.setAttribute("aria-label", "Cells that are drawn");
    legend.append(...this.buttons.map(([, button]) => button), ...switches);
    legend.hidden = false;
  }
  show() {
    if (!this.view || !this.entries.length) return;
    const shown = this.entries
      .map((entry) => entry.cell)
      .filter((cell) => this.on.has(cell) && !off.cell.has(cell));
    (this.buttons || []).forEach(([cell, button]) =>
      button.setAttribute("aria-pressed", shown.includes(cell)),
    );
    this.view.signal("shown", shown).runAsync();
  }
}
function withoutLegend(node) {
  if (!node || typeof node !== "object") return;
  if (node.field === "cell" && "legend" in node) node.legend = null;
  Object.values(node).forEach(withoutLegend);
}
addEventListener("DOMContentLoaded", () => {
  if (!window.vegaEmbed) return;
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        const chart = new Switched(entry.target);
        charts.push(chart);
        chart.draw();
      }
    },
    { rootMargin: "300px" },
  );
  document.querySelectorAll("figure:has(> script)").forEach((figure) => seen.observe(figure));
});

// A link to a run opens the fold that the run is in.
function unfold() {
  const found = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = found && found.closest("details");
  if (fold && !fold.open) fold.open = true;
  if (fold) found.scrollIntoView({ block: "center" });
}
addEventListener("hashchange", unfold);
unfold();
