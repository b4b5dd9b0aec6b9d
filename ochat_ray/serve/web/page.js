"use strict";
// The chat page's memory, in this browser only: an entry a conversation, the settings, and the key if wished.
// Functions return the values of components in the order in which page.py names them.
window.ochat = (() => {
  const CHAT = "ochat.chat.", SETTINGS = "ochat.settings", KEY = "ochat.key", DARK = "ochat.dark";
  const SAVE_EVERY_MS = 300, TITLE = 40;
  const PHONE = matchMedia("(max-width: 768px)");
  const OWN = ["system", "condition"]; // settings that belong to a conversation
  const chinese = navigator.language.toLowerCase().startsWith("zh");
  const words = chinese
    ? { full: "\u6d4f\u89c8\u5668\u5b58\u50a8\u7a7a\u95f4\u5df2\u6ee1\uff0c\u5bf9\u8bdd\u672a\u80fd\u4fdd"
        + "\u5b58\u3002\u8bf7\u5148\u5220\u9664\u4e00\u4e9b\u5bf9\u8bdd\u3002",
        sure: "\u5220\u9664\u6b64\u5bf9\u8bdd\uff1f" }
    : { full: "This browser's storage is full: the conversation is not kept. Delete others first.",
        sure: "Delete this conversation?" };
  let current = null; // id of the conversation that is shown
  let model = null; // the one chosen last; the list of models comes later than the rest
  let started = false; // components tell of changes while they are made, with the values of an empty page
  let lastKey = "";
  let waiting = null; // a conversation to save soon
  let timer = 0;
  let told = false;

  const update = (props) => ({ __type__: "update", ...props });
  const textOf = (content) =>
    typeof content === "string" ? content
    : Array.isArray(content) ? content.map(textOf).join("")
    : typeof content?.text === "string" ? content.text : "";
  const plain = (chat) => (chat || []).map((m) => ({ role: m.role, content: textOf(m.content) }));
  const shown = (messages) =>
    messages.map((m) => ({ role: m.role, content: [{ type: "text", text: m.content }], metadata: null, options: null }));

  function read(name) {
    try {
      return JSON.parse(localStorage.getItem(name));
    } catch {
      return null;
    }
  }
  function write(name, value) {
    try {
      localStorage.setItem(name, JSON.stringify(value));
    } catch {
      if (!told) alert(words.full);
      told = true;
    }
  }
  function newId() {
    // randomUUID is for HTTPS only.
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
  }
  function all() {
    return Object.keys(localStorage)
      .filter((name) => name.startsWith(CHAT))
      .map((name) => read(name))
      .filter((one) => one && Array.isArray(one.messages))
      .sort((a, b) => b.updated - a.updated);
  }
  function list() {
    const choices = all().map((one) => [one.title, one.id]);
    return update({ choices, value: current });
  }
  function save() {
    clearTimeout(timer);
    timer = 0;
    if (waiting) write(CHAT + waiting.id, waiting);
    waiting = null;
  }
  // A question without an answer goes back to the text box.
  function settled(messages, message) {
    const last = messages.at(-1);
    if (last?.role !== "user") return [messages, message];
    return [messages.slice(0, -1), message || last.content];
  }
  const quiet = () => update({ value: "", visible: false });
  const idle = () => [update({ visible: true }), update({ visible: false })];

  function show(one) {
    current = one?.id ?? null;
    const [messages, message] = settled(one?.messages ?? [], "");
    const settings = read(SETTINGS) ?? {};
    const own = OWN.map((name) => (one ? one[name] : settings[name]) ?? "");
    const side = PHONE.matches ? update({ open: false }) : update({}); // it covers the chat there
    return [side, shown(messages), message, quiet(), own[0], own[1] || null];
  }

  addEventListener("pagehide", save);
  addEventListener("DOMContentLoaded", () => {
    const wanted = localStorage.getItem(DARK);
    if (wanted !== null) document.body.classList.toggle("dark", wanted === "1");
  });

  return {
    current: () => current ?? "",
    model: () => model,
    start() {
      const dark = localStorage.getItem(DARK);
      if (dark !== null) document.body.classList.toggle("dark", dark === "1");
      const key = read(KEY);
      lastKey = key ?? "";
      started = true;
      const settings = read(SETTINGS) ?? {};
      model = settings.model ?? null;
      const { temperature = 0.7, top_p = 1, max_tokens = null, seed = null, stop = "",
        presence_penalty = 0, frequency_penalty = 0 } = settings;
      const [side, messages, message, ...rest] = show(all()[0]);
      const typed = message || update({}); // what somebody wrote while the page was made stays
      return [list(), side, messages, typed, ...rest, key ?? "", key !== null, temperature, top_p, max_tokens, seed, stop,
        presence_penalty, frequency_penalty];
    },
    // Every part is there and listens.
    ready() {
      document.documentElement.dataset.ochat = "ready";
    },
    ask(message, chat) {
      const messages = plain(chat);
      if (!message.trim()) return [message, update({}), update({})];
      current ??= newId();
      return ["", shown([...messages, { role: "user", content: message }]), quiet()];
    },
    stop(chat, message) {
      const [messages, text] = settled(plain(chat), message);
      return [shown(messages), text, quiet(), ...idle()];
    },
    open(id) {
      save();
      return [...show(read(CHAT + id)), ...idle()];
    },
    fresh() {
      save();
      return [(current = null, list()), ...show(null), ...idle()];
    },
    remove() {
      if (current !== null && confirm(words.sure)) {
        waiting = null;
        localStorage.removeItem(CHAT + current);
        current = null;
      }
      const opened = show(current === null ? null : read(CHAT + current));
      return [list(), ...opened, ...idle()];
    },
    // What is shown changed, or a setting: keep both. Returns the list of conversations if it changed too.
    keep(chat, values, names) {
      if (!started) return update({});
      const settings = Object.fromEntries(names.map((name, index) => [name, values[index]]));
      model = settings.model ||= model;
      write(SETTINGS, settings);
      const messages = plain(chat);
      if (current === null || !messages.length) return update({});
      const before = waiting?.id === current ? waiting : read(CHAT + current);
      const question = messages.find((m) => m.role === "user")?.content ?? "";
      const title = [...question.replace(/\s+/g, " ").trim()].slice(0, TITLE).join("") || "...";
      const same = before && JSON.stringify(before.messages) === JSON.stringify(messages);
      waiting = {
        id: current, title, messages, updated: same ? before.updated : Date.now(),
        model: same && before.model ? before.model : settings.model,
        system: settings.system ?? "", condition: settings.condition ?? "",
      };
      if (before?.title !== title) {
        save();
        return list();
      }
      timer ||= setTimeout(save, SAVE_EVERY_MS);
      return update({});
    },
    keepKey(key, remember) {
      if (!started) return update({});
      if (remember) write(KEY, key);
      else localStorage.removeItem(KEY);
      return key === lastKey ? update({}) : ((lastKey = key), quiet()); // what was said is about another key
    },
    // A record that `ochat-ray prepare` reads.
    export() {
      save();
      const one = current === null ? null : read(CHAT + current);
      if (!one) return;
      const system = one.system.trim() ? [{ role: "system", content: one.system }] : [];
      const record = { id: one.id, model: one.model ?? "" };
      if (one.condition) record.condition = one.condition;
      record.messages = [...system, ...one.messages];
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(record, null, 2) + "\n"], { type: "application/json" }));
      link.download = `chat-${one.id}.json`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    },
    dark() {
      const dark = document.body.classList.toggle("dark");
      localStorage.setItem(DARK, dark ? "1" : "0");
    },
  };
})();
