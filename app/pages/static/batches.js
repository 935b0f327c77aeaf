// Looking again while something is under way. Without script one reloads the page.

const LOOK_EVERY = 2000;

async function look() {
  let underWay = true;
  try {
    const response = await fetch("/batches", { headers: { Accept: "text/html" }, cache: "no-store" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.querySelector("table");
    if (response.ok && fresh) {
      underWay = "underWay" in fresh.dataset;
      replace(document.querySelector("tbody"), fresh.tBodies[0]);
    }
  } catch {
    // The service is away for a moment: what stands here is what was known last.
  }
  if (underWay) {
    setTimeout(look, LOOK_EVERY);
  }
}

/** Put in place what changed, cell by cell: whoever is about to press a button keeps it under the finger. */
function replace(body, fresh) {
  const rows = [...body.rows];
  [...fresh.rows].forEach((row, index) => {
    const cells = [...(rows[index]?.cells ?? [])];
    if (!cells.length) {
      body.append(row);
    } else {
      [...row.cells].forEach((cell, place) => {
        if (cell.innerHTML !== cells[place].innerHTML) {
          cells[place].replaceWith(cell);
        }
      });
    }
  });
}

if (document.querySelector("[data-under-way]")) {
  setTimeout(look, LOOK_EVERY);
}
