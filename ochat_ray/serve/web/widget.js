"use strict";
// A chat window for any page:
//   <script src="http://HOST:18888/widget.js" data-title="Help" data-greeting="Hello" data-language="en"
//           data-model="..." data-system="..." data-key="..."></script>
// All attributes may be left out. Whoever reads the page can read its key: give it one of its own, with limits.
(() => {
  const script = document.currentScript;
  const server = new URL(".", script.src).href.slice(0, -1);
  const set = script.dataset;
  const zh = (set.language || document.documentElement.lang || navigator.language).toLowerCase().startsWith("zh");
  const words = zh ? {
    title: "\u804a\u5929", open: "\u6253\u5f00\u804a\u5929", close: "\u5173\u95ed", write: "\u8f93\u5165\u6d88\u606f",
    send: "\u53d1\u9001", stop: "\u505c\u6b62", retry: "\u91cd\u8bd5", fresh: "\u65b0\u5bf9\u8bdd",
    person: "\u8f6c\u4eba\u5de5\u5ba2\u670d", contact: "\u5982\u4f55\u8054\u7cfb\u60a8\uff1f\uff08\u90ae\u7bb1\u6216\u7535\u8bdd\uff09",
    pass: "\u53d1\u9001\u5bf9\u8bdd", cancel: "\u53d6\u6d88", passed: "\u5df2\u8f6c\u4ea4\u7ed9\u4eba\u5de5\u5ba2\u670d\u3002",
    unreachable: "\u670d\u52a1\u5668\u6ca1\u6709\u54cd\u5e94\u3002", cut: "\u56de\u7b54\u4e2d\u65ad\u4e86\u3002",
    failed: "\u51fa\u9519\u4e86", waiting: "\u6b63\u5728\u56de\u7b54", you: "\u60a8", model: "\u52a9\u624b",
  } : {
    title: "Chat", open: "Open the chat", close: "Close", write: "Write a message",
    send: "Send", stop: "Stop", retry: "Try again", fresh: "Start over",
    person: "Talk to a person", contact: "How can we reach you? (mail or phone)",
    pass: "Send the conversation", cancel: "Cancel", passed: "Your conversation was passed on to a person.",
    unreachable: "The server does not answer.", cut: "The answer broke off.",
    failed: "That did not work", waiting: "Answering", you: "You", model: "Assistant",
  };
  const MEMORY = `ochat.widget.${server}.${set.model || ""}.${set.title || ""}`;
  const style = `
    :host { --ground: #ffffff; --ink: #1d1f23; --soft: #5b6067; --line: #dcdcd6; --accent: #1d4f91; --onaccent: #ffffff;
      --mine: #e6eef9; --theirs: #f2f2ee; --bad: #a3201b; color-scheme: light; }
    @media (prefers-color-scheme: dark) { :host { --ground: #1b1d21; --ink: #e8e9e6; --soft: #a4aab2; --line: #3a3e45;
      --accent: #8ab8f5; --onaccent: #10233c; --mine: #24374f; --theirs: #2a2d32; --bad: #ff9b94; color-scheme: dark; } }
    * { box-sizing: border-box; }
    [hidden] { display: none !important; }
    button, textarea, input { font: inherit; color: inherit; }
    button { border: 1px solid var(--line); border-radius: 8px; background: none; padding: 0.45rem 0.8rem; cursor: pointer; }
    button:disabled { opacity: 0.5; cursor: default; }
    button:focus-visible, textarea:focus-visible, input:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
    .strong { background: var(--accent); color: var(--onaccent); border-color: var(--accent); }
    .open, .window { position: fixed; right: 1.25rem; bottom: 1.25rem; z-index: 2147483000; color: var(--ink);
      font: 400 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
    .open { width: 56px; height: 56px; border-radius: 50%; padding: 0; display: grid; place-items: center;
      background: var(--accent); color: var(--onaccent); border: 0; box-shadow: 0 4px 16px #0004; }
    .window { width: min(24rem, calc(100vw - 2.5rem)); height: min(36rem, calc(100vh - 2.5rem)); display: flex;
      flex-direction: column; background: var(--ground); border: 1px solid var(--line); border-radius: 12px;
      box-shadow: 0 8px 32px #0005; overflow: hidden; }
    header { display: flex; align-items: center; gap: 0.5rem; padding: 0.6rem 0.6rem 0.6rem 1rem; border-bottom: 1px solid var(--line); }
    h2 { flex: 1; margin: 0; font-size: 1rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    header button { border: 0; padding: 0.3rem 0.5rem; }
    header svg { display: block; }
    .log { flex: 1; overflow-y: auto; padding: 1rem; display: flex; flex-direction: column; gap: 0.6rem; }
    .log > div { max-width: 88%; padding: 0.5rem 0.75rem; border-radius: 12px; white-space: pre-wrap; overflow-wrap: anywhere;
      align-self: flex-start; background: var(--theirs); }
    .log > .user { align-self: flex-end; background: var(--mine); }
    .log > .busy::after { content: "\\2026"; }
    .name { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    .note { margin: 0; padding: 0 1rem 0.5rem; display: flex; gap: 0.75rem; align-items: center; color: var(--soft); font-size: 0.875rem; }
    .note.bad { color: var(--bad); }
    .note span { flex: 1; overflow-wrap: anywhere; }
    form { display: flex; gap: 0.5rem; padding: 0.6rem; border-top: 1px solid var(--line); align-items: flex-end; }
    form.reach { flex-wrap: wrap; }
    textarea, input { flex: 1; min-width: 0; background: var(--ground); border: 1px solid var(--line); border-radius: 8px;
      padding: 0.45rem 0.6rem; resize: none; }
    form.reach input { flex: 1 0 100%; }
    form.reach label { flex: 1 0 100%; font-size: 0.875rem; color: var(--soft); }
    .foot { display: flex; gap: 0.5rem; padding: 0 0.6rem 0.6rem; font-size: 0.875rem; }
    @media (max-width: 480px) { .window { inset: 0; width: auto; height: auto; border: 0; border-radius: 0; }
      textarea, input { font-size: 16px; } }`;

  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open" });
  // Constructed sheets are allowed by pages that forbid inline styles.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  root.adoptedStyleSheets = [sheet];

  // An element with its text, which is never read as HTML.
  function make(tag, props = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (typeof value === "boolean") element.toggleAttribute(name, value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }
  function icon(path) {
    const NS = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(NS, "svg"), line = document.createElementNS(NS, "path");
    const attributes = { viewBox: "0 0 24 24", width: 24, height: 24, fill: "none", stroke: "currentColor", "stroke-width": 2,
      "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" };
    for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  }

  const opener = make("button", { class: "open", type: "button", "aria-label": words.open, "aria-expanded": "false",
    onclick: open }, icon("M21 12a8 8 0 0 1-8 8H4l2-3a8 8 0 1 1 15-5z"));
  const log = make("div", { class: "log", role: "log", "aria-live": "polite", "aria-label": set.title || words.title, tabindex: "0" });
  const said = make("span");
  const again = make("button", { type: "button", text: words.retry, onclick: () => again.act() });
  const note = make("p", { class: "note", role: "status", hidden: true }, said, again);
  const box = make("textarea", { rows: "1", "aria-label": words.write, placeholder: words.write, maxlength: "20000" });
  const send = make("button", { class: "strong", type: "submit", text: words.send });
  const stop = make("button", { type: "button", text: words.stop, hidden: true, onclick: () => running?.abort() });
  const form = make("form", { onsubmit: submit }, box, send, stop);
  const contact = make("input", { id: "contact", autocomplete: "email", maxlength: "500" });
  const pass = make("button", { class: "strong", type: "submit", text: words.pass });
  const reach = make("form", { class: "reach", hidden: true, onsubmit: handOver },
    make("label", { for: "contact", text: words.contact }), contact, pass,
    make("button", { type: "button", text: words.cancel, onclick: () => asking(false) }));
  const person = make("button", { type: "button", text: words.person, hidden: true, onclick: () => asking(true) });
  const fresh = make("button", { type: "button", text: words.fresh, onclick: startOver });
  const pane = make("section", { class: "window", role: "dialog", "aria-labelledby": "title", hidden: true },
    make("header", {}, make("h2", { id: "title", text: set.title || words.title }), fresh,
      make("button", { type: "button", "aria-label": words.close, onclick: close }, icon("M6 6l12 12M18 6L6 18"))),
    log, note, form, reach, make("div", { class: "foot" }, person));
  root.append(opener, pane);

  let turns = [];
  let running = null;
  let configured = false;

  function remember() {
    try { sessionStorage.setItem(MEMORY, JSON.stringify(turns)); } catch { /* a page without storage forgets */ }
  }
  function recall() {
    try {
      const found = JSON.parse(sessionStorage.getItem(MEMORY));
      if (Array.isArray(found)) turns = found.filter((t) => typeof t?.role === "string" && typeof t.content === "string");
    } catch { /* as above */ }
  }
  function show(role, content) {
    const text = make("span", { text: content });
    log.append(make("div", { class: role }, make("span", { class: "name", text: `${role === "user" ? words.you : words.model}: ` }), text));
    log.scrollTop = log.scrollHeight;
    return text;
  }
  function draw() {
    log.replaceChildren();
    if (set.greeting) show("assistant", set.greeting);
    for (const turn of turns) show(turn.role, turn.content);
  }
  function tell(text, { bad = false, retry = null } = {}) {
    said.textContent = text;
    note.classList.toggle("bad", bad);
    note.setAttribute("role", bad ? "alert" : "status");
    note.hidden = !text;
    again.hidden = !retry;
    again.act = retry;
    log.scrollTop = log.scrollHeight; // there is less room for it now
  }
  function busy(on) {
    send.hidden = on;
    stop.hidden = !on;
    fresh.disabled = person.disabled = on;
  }

  async function open() {
    pane.hidden = false;
    opener.hidden = true;
    opener.setAttribute("aria-expanded", "true");
    log.scrollTop = log.scrollHeight;
    box.focus();
    if (configured) return;
    try {
      const answer = await fetch(`${server}/widget/config`, { headers: headers() });
      person.hidden = !(answer.ok && (await answer.json()).handoff);
      configured = answer.ok;
    } catch { /* the first question tells of it */ }
  }
  function close() {
    pane.hidden = true;
    opener.hidden = false;
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  }
  function startOver() {
    turns = [];
    remember();
    tell("");
    draw();
    box.focus();
  }
  function headers(more = {}) {
    return set.key ? { ...more, Authorization: `Bearer ${set.key}` } : more;
  }

  function submit(event) {
    event.preventDefault();
    const text = box.value.trim();
    if (!text || running) return;
    box.value = "";
    fit();
    // A question that was never answered gives way to the next one.
    if (turns.at(-1)?.role === "user") { turns.pop(); draw(); }
    turns.push({ role: "user", content: text });
    remember();
    show("user", text);
    answer();
  }

  async function answer() {
    running = new AbortController();
    const { signal } = running;
    tell("");
    busy(true);
    const text = show("assistant", "");
    text.parentElement.classList.add("busy");
    // Screen readers get the answer once, when it is whole.
    log.setAttribute("aria-busy", "true");
    let content = "", problem = "";
    try {
      for await (const piece of pieces(signal)) {
        const low = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
        text.textContent = content += piece;
        if (low) log.scrollTop = log.scrollHeight;
      }
    } catch (error) {
      if (!signal.aborted) problem = error.told ? error.message : content ? words.cut : words.unreachable;
    }
    running = null;
    busy(false);
    log.removeAttribute("aria-busy");
    text.parentElement.classList.remove("busy");
    if (problem) {
      text.parentElement.remove();
      tell(problem, { bad: true, retry: answer });
    } else if (content) {
      turns.push({ role: "assistant", content });
    } else { // stopped before it began: the question can be put otherwise
      box.value ||= turns.pop().content;
      draw();
    }
    remember();
    if (!root.activeElement || [stop, again].includes(root.activeElement)) box.focus();
  }

  // Text of the answer as it comes. Throws an error with `told` for what the server says.
  async function* pieces(signal) {
    const told = (message) => Object.assign(new Error(message), { told: true });
    const system = set.system ? [{ role: "system", content: set.system }] : [];
    const model = set.model || await firstModel(signal);
    const response = await fetch(`${server}/v1/chat/completions`, {
      method: "POST", signal, headers: headers({ "Content-Type": "application/json" }),
      body: JSON.stringify({ model, stream: true, messages: [...system, ...turns] }),
    });
    if (!response.ok) throw told(await reason(response));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("no [DONE]");
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw told(`${words.failed}: ${chunk.error.message}`);
        const piece = chunk.choices?.[0]?.delta?.content;
        if (piece) yield piece;
      }
    }
  }
  async function firstModel(signal) {
    const response = await fetch(`${server}/v1/models`, { signal, headers: headers() });
    if (!response.ok) throw Object.assign(new Error(await reason(response)), { told: true });
    set.model = (await response.json()).data[0].id;
    return set.model;
  }
  async function reason(response) {
    let message = "";
    try { message = (await response.json()).error.message; } catch { /* a proxy's page */ }
    return `${words.failed} (${response.status})${message ? `: ${message}` : ""}`;
  }

  function asking(on) {
    reach.hidden = !on;
    form.hidden = person.hidden = on;
    (on ? contact : box).focus();
  }
  async function handOver(event) {
    event?.preventDefault();
    pass.disabled = true;
    try {
      const response = await fetch(`${server}/widget/handoff`, {
        method: "POST", headers: headers({ "Content-Type": "application/json" }),
        body: JSON.stringify({ conversation: turns, contact: contact.value, page: location.href.slice(0, 2000) }),
      });
      if (!response.ok) throw Object.assign(new Error(await reason(response)), { told: true });
      tell(words.passed);
      asking(false);
    } catch (error) {
      tell(error.told ? error.message : words.unreachable, { bad: true, retry: handOver });
    }
    pass.disabled = false;
  }

  function fit() {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight + 2, 140)}px`;
  }
  box.addEventListener("input", fit);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  pane.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the page's own keys are not meant
    if (event.key === "Escape") close();
  });

  recall();
  draw();
  const begin = () => document.body.append(host);
  if (document.body) begin();
  else addEventListener("DOMContentLoaded", begin);
})();
