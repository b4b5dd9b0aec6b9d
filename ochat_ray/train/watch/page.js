"use strict";
// Reads out a step in all charts at once, where one of them is pointed at. Without it the page is whole, but still.
(() => {
  const { low, high, steps, epochs, values, evals } = JSON.parse(document.getElementById("steps").textContent);
  if (!steps.length) return;
  const charts = [...document.querySelectorAll(".chart")];
  let at = -1;

  // The index of the entry nearest to a step, in ascending order; with `before`, of the last one not after it.
  function nearest(sorted, step, before = false) {
    let from = 0, to = sorted.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (sorted[middle] <= step) from = middle + 1;
      else to = middle;
    }
    if (before || from === 0) return Math.min(from - 1, sorted.length - 1);
    return from < sorted.length && sorted[from] - step < step - sorted[from - 1] ? from : from - 1;
  }
  const shown = (value) => (value === null || value === undefined ? "\u2013"
    : Math.abs(value) >= 1e-3 || value === 0 ? value.toLocaleString("en", { maximumSignificantDigits: 5 }) : value.toExponential(2));

  // Names and values of a chart at a step: numbers of the nearest step, and of the last evaluation by then.
  function readings(key, step) {
    const evaluation = nearest(evals.steps, step, true);
    if (key === "classes") {
      if (evaluation < 0) return [];
      const after = [["after step", evals.steps[evaluation]], ["all", evals.all[evaluation]]];
      return [...after, ...Object.entries(evals.classes).map(([name, losses]) => [name, losses[evaluation]])];
    }
    const own = [["step", step], ["epoch", epochs[at]], ["", values[key][at]]];
    if (key === "loss" && evaluation >= 0) own.push(["held-out", evals.all[evaluation]]);
    return own;
  }
  function show(index) {
    at = index;
    for (const chart of charts) {
      const cursor = chart.querySelector(".cursor"), now = chart.querySelector(".now");
      cursor.setAttribute("visibility", at < 0 ? "hidden" : "visible");
      now.hidden = at < 0;
      if (at < 0) continue;
      const place = `${(100 * (steps[at] - low)) / (high - low)}%`;
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
      now.replaceChildren(...readings(chart.dataset.key, steps[at]).flatMap(([name, value], order) => {
        const number = document.createElement("b");
        number.textContent = shown(value);
        return [`${order ? ", " : ""}${name}${name ? " " : ""}`, number];
      }));
    }
  }

  for (const chart of charts) {
    const plot = chart.querySelector(".plot");
    const point = (event) => {
      const { left, width } = plot.getBoundingClientRect();
      show(nearest(steps, low + ((event.clientX - left) / width) * (high - low)));
    };
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", () => show(-1));
    plot.tabIndex = 0;
    plot.addEventListener("blur", () => show(-1));
    plot.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1, Home: -steps.length, End: steps.length }[event.key];
      if (way) show(Math.min(steps.length - 1, Math.max(0, at + way)));
      else if (event.key === "Escape") show(-1);
      else return;
      event.preventDefault();
    });
  }
  for (const help of document.querySelectorAll(".help")) help.hidden = false;
})();
