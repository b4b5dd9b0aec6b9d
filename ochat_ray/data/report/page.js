"use strict";
// Makes the map answer: point, hold, find, colour alone, zoom. Without it the page is whole, but still.
(() => {
  const block = document.getElementById("map-data");
  if (!block) return;
  const { names, series, points } = JSON.parse(block.textContent);
  const [X, Y, ID, QUESTION, ANSWER, TOPIC, MODEL, LANGUAGE] = [0, 1, 2, 3, 4, 5, 6, 7];
  const MARGIN = 300, SIZE = 10600, MOST_ZOOM = 24, REACH = 14; // REACH in px: how near a pointer must come
  const get = (id) => document.getElementById(id);
  const plot = get("plot"), plane = get("plane"), card = get("card"), find = get("find");
  const labels = [...get("names").children];
  const state = { by: "topic", alone: new Set(), word: "", at: -1, held: false, view: [-MARGIN, -MARGIN, SIZE] };
  let live = points.map((_, index) => index);

  const dots = (indexes) => indexes.map((i) => `M${points[i][X]} ${points[i][Y]}h1`).join("");
  const haystack = points.map((p) => `${p[QUESTION]}\n${p[ANSWER]}\n${p[ID]}`.toLowerCase());

  // What is drawn: the points that are found and in a series looked at, in colour; all others grey.
  function draw() {
    state.by = document.querySelector("input[name=colour]:checked").value;
    const of = series[state.by];
    const on = points.map((_, i) => (!state.alone.size || state.alone.has(of[i])) && haystack[i].includes(state.word));
    live = points.map((_, i) => i).filter((i) => on[i]);
    const group = document.querySelector(`.series.${state.by}`);
    for (const path of group.children) {
      const number = Number(path.getAttribute("class").slice(1));
      path.setAttribute("d", dots(live.filter((i) => of[i] === number)));
    }
    get("rest").setAttribute("d", dots(points.map((_, i) => i).filter((i) => !on[i])));
    get("found").value = state.word ? `${live.length.toLocaleString("en")} of ${points.length.toLocaleString("en")}` : "";
    for (const button of document.querySelectorAll(".legend button")) {
      const own = button.dataset.by === state.by && state.alone.has(Number(button.dataset.series));
      button.setAttribute("aria-pressed", String(own));
    }
    if (state.at >= 0 && !on[state.at]) show(-1);
  }

  // Pixels of the plane a unit of the map takes, and from pixels in the plot to units.
  const box = () => plane.ownerSVGElement.getBoundingClientRect();
  function toPixels(index) {
    const { width } = box(), [left, top, size] = state.view;
    return [((points[index][X] - left) * width) / size, ((points[index][Y] - top) * width) / size];
  }
  function nearest(event) {
    const { left, top } = box(), x = event.clientX - left, y = event.clientY - top;
    let best = -1, reach = REACH ** 2;
    for (const i of live) {
      const [px, py] = toPixels(i), distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < reach) [best, reach] = [i, distance];
    }
    return best;
  }

  function show(index, held = false) {
    state.at = index;
    state.held = held && index >= 0;
    card.hidden = index < 0;
    card.classList.toggle("held", state.held);
    get("card-close").hidden = !state.held;
    get("hit").setAttribute("d", index < 0 ? "" : dots([index]));
    if (index < 0) return;
    const point = points[index];
    const facts = [names.topic[point[TOPIC]], names.model[point[MODEL]], names.language[point[LANGUAGE]], point[ID]];
    get("card-who").textContent = facts.join(" \u00b7 ");
    get("card-question").textContent = point[QUESTION];
    get("card-answer").textContent = point[ANSWER];
    beside(index);
  }
  // The card keeps within the plot, on the side of the point where there is more room.
  function beside(index) {
    const { width } = box(), [x, y] = toPixels(index);
    card.style.left = `${Math.max(4, x > width / 2 ? x - card.offsetWidth - 14 : x + 14)}px`;
    card.style.top = `${Math.max(4, Math.min(y - 20, width - card.offsetHeight - 4))}px`;
  }

  function look(left, top, size) {
    size = Math.min(SIZE, Math.max(SIZE / MOST_ZOOM, size));
    const clamp = (value) => Math.min(SIZE - MARGIN - size, Math.max(-MARGIN, value));
    state.view = [clamp(left), clamp(top), size];
    plane.setAttribute("viewBox", `${state.view[0]} ${state.view[1]} ${size} ${size}`);
    plane.style.setProperty("--grow", Math.min(2, (SIZE / size) ** 0.3));
    plot.classList.toggle("zoomed", size < SIZE);
    place();
    if (state.at >= 0) beside(state.at);
  }
  function zoom(factor, event) {
    const [left, top, size] = state.view, { left: x, top: y, width } = box();
    const u = event ? (event.clientX - x) / width : 0.5, v = event ? (event.clientY - y) / width : 0.5;
    const wanted = Math.min(SIZE, Math.max(SIZE / MOST_ZOOM, size * factor));
    look(left + (size - wanted) * u, top + (size - wanted) * v, wanted);
  }
  // Names of topics go with the map; a name that would cover that of a larger topic is left out.
  function place() {
    const [left, top, size] = state.view, { width: room } = box(), placed = [];
    if (!room) return; // not laid out yet
    for (const label of labels) {
      const x = ((label.dataset.x - left) * room) / size, y = ((label.dataset.y - top) * room) / size;
      const inside = x >= 0 && x <= room && y >= 0 && y <= room;
      const { width, height } = label.getBBox(), half = width / 2 + 4;
      const own = { x: Math.max(half, Math.min(room - half, x)), y, half, height };
      label.setAttribute("x", `${(100 * own.x) / room}%`); // in percent, for paper is of another width
      label.setAttribute("y", `${(100 * y) / room}%`);
      const over = placed.some((o) => Math.abs(o.x - own.x) < o.half + half && Math.abs(o.y - y) < height);
      label.classList.toggle("over", over || !inside);
      if (!over && inside) placed.push(own);
    }
  }

  // The live point that lies nearest in a direction, sideways distance counting double.
  function step(dx, dy) {
    if (state.at < 0) return live.length ? live[0] : -1;
    const [x, y] = points[state.at];
    let best = state.at, least = Infinity;
    for (const i of live) {
      const ahead = (points[i][X] - x) * dx + (points[i][Y] - y) * dy;
      const aside = Math.abs((points[i][X] - x) * dy) + Math.abs((points[i][Y] - y) * dx);
      if (ahead > 0 && ahead + 2 * aside < least) [best, least] = [i, ahead + 2 * aside];
    }
    return best;
  }

  let drag = null;
  plot.addEventListener("pointerdown", (event) => {
    if (!card.contains(event.target)) drag = { x: event.clientX, y: event.clientY, view: state.view, moved: false };
  });
  window.addEventListener("pointermove", (event) => {
    if (!drag) {
      if (!state.held && plot.contains(event.target)) show(nearest(event));
      return;
    }
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    drag.moved ||= Math.hypot(dx, dy) > 4;
    const [left, top, size] = drag.view, { width } = box();
    if (drag.moved && size < SIZE) look(left - (dx * size) / width, top - (dy * size) / width, size);
  });
  window.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) show(nearest(event), true);
    drag = null;
  });
  window.addEventListener("pointercancel", () => { drag = null; });
  plot.addEventListener("pointerleave", () => { if (!state.held) show(-1); });
  plot.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, event);
  }, { passive: false });
  plot.addEventListener("dblclick", (event) => zoom(0.5, event));
  plot.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) show(step(...way));
    else if (event.key === "Enter" && event.target === plot) show(state.at, true);
    else if (event.key === "Escape") show(-1);
    else if (event.key === "+") zoom(0.67);
    else if (event.key === "-") zoom(1.5);
    else return;
    event.preventDefault();
  });
  get("card-close").addEventListener("click", () => { show(-1); plot.focus(); });
  get("in").addEventListener("click", () => zoom(0.67));
  get("out").addEventListener("click", () => zoom(1.5));
  get("whole").addEventListener("click", () => look(-MARGIN, -MARGIN, SIZE));
  for (const radio of document.querySelectorAll("input[name=colour]")) {
    radio.addEventListener("change", () => { state.alone.clear(); draw(); });
  }
  for (const button of document.querySelectorAll(".legend button")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const number = Number(button.dataset.series);
      if (!state.alone.delete(number)) state.alone.add(number);
      draw();
    });
  }
  find.addEventListener("input", () => { state.word = find.value.trim().toLowerCase(); draw(); });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && live.length) show(live[(live.indexOf(state.at) + 1) % live.length], true);
    if (event.key === "Escape") show(-1);
  });
  new ResizeObserver(place).observe(plot);

  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", "Map of the conversations");
  plot.setAttribute("aria-describedby", "map-help");
  for (const part of document.querySelectorAll(".find, .zoom, .help")) part.hidden = false;
  draw();
  place();
})();
