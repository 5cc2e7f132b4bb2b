// Heads become buttons that sort the rows of each group; without scripts the tables stand as written.
for (const table of document.querySelectorAll("table.sortable")) {
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
  const x = parseFloat(a.dataset.v), y = parseFloat(b.dataset.v);
  if (isNaN(x) && isNaN(y)) return down * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  return isNaN(x) ? 1 : isNaN(y) ? -1 : x === y ? 0 : x < y ? -down : down;  // what is no number stays below
}
// A link to a run opens the fold that the run is in.
function unfold() {
  const found = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = found && found.closest("details");
  if (fold && !fold.open) { fold.open = true; found.scrollIntoView(); }
}
addEventListener("hashchange", unfold);
unfold();
