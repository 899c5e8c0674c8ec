// The double's live page: who was asked what, how often, and who answered, as it happens.
//
// Reads the same control calls as everybody else (GET /_double/journal, /script, /scopes, /events), with the key in the
// header. All that comes from a request is put into the page as text, never as markup.

/**
 * @typedef {{seq: number, scope: string, request_id: string|null, attempt: number, provider: string, api: string,
 *   model: string|null, alias: string|null, stream: boolean, rule: string|null, outcome: string|null,
 *   status: number|null, started_at: number, first_byte_at: number|null, ended_at: number|null, request: unknown,
 *   headers: Record<string, string>, response: {body: unknown, chunks: number|null, finish: string|null}|null}} Entry
 * @typedef {{id: number, used: number, in_force: boolean, left: number|null, expires_in: number|null, name?: string,
 *   when?: Record<string, unknown>, reply?: any, fault?: any}} Rule
 * @typedef {{scope: string, strict: boolean, inherit: boolean, rules: Rule[], told_at?: number}} Script
 */

const MOST_REQUESTS = 500; // shown; the journal keeps more
const MOST_SCRIPTS = 30;
const RETRY_SECONDS = 3;
const MOST_TEXT = 200_000; // characters of a body
const KEY = "litellm-local-double-key";
const ALL = "*";
const PROBES = "probes";

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

const state = {
  key: "",
  all: false, // the key may see every scope
  scope: "",
  paused: false,
  /** @type {Map<string, ClientRequest>} */ requests: new Map(), // by id, oldest first
  /** @type {Map<string, Script>} */ scripts: new Map(),
  /** @type {Set<string>} */ models: new Set(),
  /** @type {Set<string>} */ cassettes: new Set(), // scopes that have one
  following: new AbortController(),
  skew: 0, // what this clock is behind the simulator's, in seconds
};

// -- the control calls ------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(/** @type {number} */ status, /** @type {string} */ message) {
    super(message);
    this.status = status;
  }
}

async function call(/** @type {string} */ path, /** @type {Record<string, string>} */ query = {}, options = {}) {
  const asked = new URLSearchParams(query).toString();
  const response = await fetch(`/_double/${path}${asked ? `?${asked}` : ""}`, {
    ...options,
    headers: { Authorization: `Bearer ${state.key}` },
    cache: "no-store",
  });
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  throw new Refused(response.status, told?.error?.message ?? `the gateway answered ${response.status}`);
}

const read = async (/** @type {string} */ path, query = {}, options = {}) => (await call(path, query, options)).json();

/** Hands each server-sent event to `take` as it comes; returns when the stream ends. */
async function readEvents(/** @type {ReadableStream} */ body, /** @type {(name: string, data: any) => void} */ take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      let name = "";
      let data = "";
      for (const line of event.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (name && data) take(name, JSON.parse(data));
    }
  }
}

// -- following --------------------------------------------------------------------------------------------------

/** Follows a scope until another one is followed: what there is, then what happens, again after each break. */
async function follow(/** @type {string} */ scope) {
  state.following.abort();
  const following = new AbortController();
  state.following = following;
  const { signal } = following;
  if (scope !== state.scope) putAway();
  state.scope = scope;
  $("scope").value = scope;
  let pause = 500;
  say("connecting");
  while (!signal.aborted) {
    try {
      const response = await call("events", { scope }, { signal });
      /** @type {[string, any][]|null} */ let waiting = [];
      const reading = readEvents(/** @type {ReadableStream} */ (response.body), (name, data) => {
        if (signal.aborted) return;
        if (waiting) waiting.push([name, data]);
        else happened(name, data);
      });
      reading.catch(() => {}); // awaited below
      await load(scope, signal);
      waiting.splice(0).forEach(([name, data]) => happened(name, data));
      waiting = null;
      say("live");
      pause = 500;
      await reading;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && [401, 403].includes(error.status)) return askKey(refusalOf(error));
      say("reconnecting", error instanceof Refused ? error.message : "the gateway does not answer");
    }
    if (signal.aborted) return;
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 5000);
  }
}

/** Shows nothing: what is there is another scope's, or nobody's any more. */
function putAway() {
  list.open = openPanels();
  state.scope = "";
  state.requests.clear();
  state.scripts.clear();
  for (const id of ["list", "scripts", "count", "script-summary"]) $(id).replaceChildren();
  $("empty").hidden = $("held").hidden = true;
}

async function load(/** @type {string} */ scope, /** @type {AbortSignal} */ signal) {
  const [journal, scripts] = await Promise.all([
    read("journal", { scope, limit: `${MOST_REQUESTS}` }, { signal }),
    readScripts(scope, signal),
  ]);
  const { scrollY } = window;
  if (state.requests.size) list.open = openPanels();
  state.requests.clear();
  $("list").replaceChildren();
  for (const entry of journal.entries) note(entry);
  state.scripts = scripts;
  drawScripts();
  list.draw(true);
  window.scrollTo({ top: scrollY });
}

async function readScripts(/** @type {string} */ scope, /** @type {AbortSignal} */ signal) {
  const told = Date.now();
  const known = (await read("scopes", {}, { signal })).scopes;
  state.cassettes = new Set(known.filter((/** @type {any} */ one) => one.cassette).map((/** @type {any} */ one) => one.name));
  showScopes(known.map((/** @type {any} */ one) => one.name));
  const wanted =
    scope === ALL
      ? known.filter((/** @type {any} */ one) => one.rules || one.strict || one.cassette).map((/** @type {any} */ one) => one.name)
      : [scope];
  /** @type {Script[]} */
  const scripts = await Promise.all(
    wanted.slice(0, MOST_SCRIPTS).map((/** @type {string} */ name) => read("script", { scope: name }, { signal })),
  );
  return new Map(scripts.map((script) => [script.scope, { ...script, told_at: told }]));
}

function happened(/** @type {string} */ name, /** @type {any} */ data) {
  if (name === "began" || name === "ended") {
    const entry = data.entry;
    if (name === "began") state.skew = entry.started_at - Date.now() / 1000;
    note(entry);
    showScopes([entry.scope]);
    if (entry.rule !== null) scriptsMoved(entry.scope);
    list.later();
  } else if (name === "script") {
    showScopes([data.scope]);
    keepScript(data.script);
  } else if (name === "cleared") {
    for (const [id, request] of state.requests) if (data.scope === ALL || request.scope === data.scope) forget(id);
    list.later();
  }
}

/** Keeps an attempt with the others of its client's request. */
function note(/** @type {Entry} */ entry) {
  if (state.scope === ALL && entry.scope === PROBES) return; // eight every five minutes, and nobody's
  const id = entry.request_id === null ? `#${entry.seq}` : `${entry.scope} ${entry.request_id}`;
  let request = state.requests.get(id);
  if (!request) {
    request = new ClientRequest(id, entry);
    state.requests.set(id, request);
    while (state.requests.size > MOST_REQUESTS) forget(/** @type {string} */ (state.requests.keys().next().value));
  }
  request.keep(entry);
  for (const name of [entry.alias, entry.model]) {
    if (name && !state.models.has(name)) {
      state.models.add(name);
      addOption($("model"), name, name);
    }
  }
}

function forget(/** @type {string} */ id) {
  state.requests.get(id)?.remove();
  state.requests.delete(id);
}

// Counters move with the requests that rules take; they are asked for once the flurry is over.
/** @type {Set<string>} */ const moved = new Set();
let movedTimer = 0;

function scriptsMoved(/** @type {string} */ scope) {
  moved.add(scope);
  if (movedTimer) return;
  movedTimer = setTimeout(async () => {
    const scopes = [...moved].slice(0, MOST_SCRIPTS);
    moved.clear();
    const { signal } = state.following;
    const read_ = scopes.map((name) => read("script", { scope: name }, { signal }).then(keepScript, () => {}));
    await Promise.all(read_);
    movedTimer = 0;
    if (moved.size) scriptsMoved([...moved][0]);
  }, 200);
}

function keepScript(/** @type {Script} */ script) {
  if (state.scope === ALL && !script.rules.length && !script.strict) state.scripts.delete(script.scope);
  else if (state.scope === ALL || state.scope === script.scope)
    state.scripts.set(script.scope, { ...script, told_at: Date.now() });
  drawScripts();
}

// -- a client's request and its attempts ------------------------------------------------------------------------

const isRunning = (/** @type {Entry} */ entry) => entry.ended_at === null;

/** Whether an attempt gave its caller an answer; a delay is a fault too, but one that answers. */
const isAnswer = (/** @type {Entry} */ entry) =>
  entry.status !== null && entry.status < 400 && ["ok", "replay", "fault:delay"].includes(entry.outcome ?? "");

/** Whether another attempt may follow one that failed: LiteLLM waits between two. */
const mayGoOn = (/** @type {Entry} */ entry) =>
  entry.ended_at !== null && !isAnswer(entry) && now() - entry.ended_at < RETRY_SECONDS;

const nameOf = (/** @type {Entry} */ entry) => entry.alias ?? entry.model ?? "?";

class ClientRequest {
  /** One request of a client: its attempts, and its row once it is drawn. */
  constructor(/** @type {string} */ id, /** @type {Entry} */ entry) {
    this.id = id;
    this.scope = entry.scope;
    /** @type {Map<number, Entry>} */ this.entries = new Map();
    /** @type {Row|null} */ this.row = null;
    this.dirty = true;
    this.hay = "";
  }

  keep(/** @type {Entry} */ entry) {
    this.entries.set(entry.seq, entry);
    this.dirty = true;
    this.hay = "";
  }

  /** The attempts in order. */
  get attempts() {
    return [...this.entries.values()].sort((one, other) => one.attempt - other.attempt || one.seq - other.seq);
  }

  get running() {
    return [...this.entries.values()].some(isRunning);
  }

  /** Whether it may look different a moment later: while an attempt runs, and as long as another may follow. */
  get unsettled() {
    const last = this.attempts.at(-1);
    return this.running || (last !== undefined && mayGoOn(last));
  }

  fits(/** @type {string} */ text, /** @type {string} */ model) {
    if (model && !this.attempts.some((entry) => entry.alias === model || entry.model === model)) return false;
    if (!text) return true;
    this.hay ||= JSON.stringify([this.attempts]).toLowerCase();
    return this.hay.includes(text) || this.hay.includes(JSON.stringify(text).slice(1, -1));
  }

  remove() {
    this.row?.element.remove();
    this.row = null;
  }
}

/** What the client wrote last, as far as the provider's request tells. */
function askedText(/** @type {any} */ request) {
  const turns = request?.messages ?? request?.input ?? request?.contents ?? request?.prompt ?? "";
  if (!Array.isArray(turns)) return textOf(turns);
  const mine = turns.filter((turn) => typeof turn === "string" || !turn?.role || turn.role === "user");
  return textOf((mine.length ? mine : turns).at(-1) ?? "");
}

/** @returns {string} */
function textOf(/** @type {any} */ value) {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(textOf).filter(Boolean).join(" ");
  if (value && typeof value === "object") return textOf(value.text ?? value.content ?? value.parts ?? "");
  return "";
}

const MILLISECOND = 0.001;

function lasted(/** @type {number} */ seconds) {
  if (seconds < 0.9995) return `${Math.max(seconds / MILLISECOND, 0).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  return seconds < 99.95 ? `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s` : `${Math.round(seconds)} s`;
}

function clock(/** @type {number} */ seconds) {
  const time = new Date(seconds * 1000);
  return `${time.toLocaleTimeString("en-GB")}.${`${time.getMilliseconds()}`.padStart(3, "0")}`;
}

const now = () => Date.now() / 1000 + state.skew;

// -- drawing ----------------------------------------------------------------------------------------------------

/**
 * An element with attributes, listeners (on…) and children; strings become text.
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {any[]} children
 */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text only where it differs, so that a selection in it lasts. */
function put(/** @type {Element} */ element, /** @type {string} */ text) {
  if (element.textContent !== text) element.textContent = text;
}

function addOption(/** @type {HTMLSelectElement} */ select, /** @type {string} */ value, /** @type {string} */ text) {
  const after = [...select.options].slice(1).find((option) => option.value > value);
  select.insertBefore(make("option", { value }, text), after ?? null);
}

class Attempt {
  /** The line of one upstream call, with what it was sent and answered behind it. */
  constructor(/** @type {Entry} */ entry) {
    this.panel = make("div", { class: "panel", id: `panel-${entry.seq}`, hidden: true });
    this.number = make("span", { class: "number" });
    this.name = make("span", { class: "name" });
    this.upstream = make("span", { class: "upstream" });
    this.tags = make("span", { class: "tags" });
    this.status = make("span", { class: "status" });
    this.wait = make("span", { class: "wait" });
    this.flow = make("span", { class: "flow" });
    this.time = make("span", { class: "time" });
    this.button = make(
      "button",
      { class: "attempt", type: "button", "aria-expanded": "false", "aria-controls": this.panel.id, onclick: () => this.toggle() },
      this.number,
      make("span", { class: `provider ${entry.provider}`, title: entry.provider }, entry.provider),
      make("span", { class: "model" }, this.name, this.upstream),
      this.tags,
      this.status,
      make("span", { class: "track" }, this.wait, this.flow),
      this.time,
    );
    this.element = make("li", {}, this.button, this.panel);
    this.entry = entry;
    this.shownTags = "";
  }

  get open() {
    return !this.panel.hidden;
  }

  toggle(open = !this.open) {
    this.panel.hidden = !open;
    this.button.setAttribute("aria-expanded", `${open}`);
    if (open) this.fill();
    else this.panel.replaceChildren();
    list.later();
  }

  draw(/** @type {Entry} */ entry, /** @type {Entry|null} */ before, /** @type {number} */ begin, /** @type {number} */ end) {
    const changed = this.entry !== entry;
    this.entry = entry;
    put(this.number, `${entry.attempt}`);
    put(this.name, nameOf(entry));
    put(this.upstream, entry.alias && entry.model && entry.model !== entry.alias ? entry.model : "");
    this.drawTags(entry, before);
    const kind = isRunning(entry) ? "running" : isAnswer(entry) ? "good" : "bad";
    this.element.dataset.kind = kind;
    put(this.status, isRunning(entry) ? "…" : `${entry.status ?? "none"}`);
    this.status.title = entry.status === null ? "no status was sent" : `HTTP ${entry.status}`;
    const last = entry.ended_at ?? end;
    const first = Math.min(entry.first_byte_at ?? last, last);
    const share = (/** @type {number} */ time) => (100 * (time - begin)) / Math.max(end - begin, 1e-6);
    stretch(this.wait, share(entry.started_at), share(first));
    stretch(this.flow, share(first), share(last));
    put(this.time, lasted(last - entry.started_at));
    this.button.title =
      `asked at ${clock(entry.started_at)}` +
      (entry.first_byte_at ? `, first byte after ${lasted(entry.first_byte_at - entry.started_at)}` : "") +
      (entry.ended_at ? `, over after ${lasted(entry.ended_at - entry.started_at)}` : "");
    if (changed && this.open) this.fill();
  }

  drawTags(/** @type {Entry} */ entry, /** @type {Entry|null} */ before) {
    /** @type {[string, string][]} */ const tags = [];
    if (before && nameOf(before) !== nameOf(entry)) tags.push(["fallback", "fallback"]);
    else if (before) tags.push(["retry", "retry"]);
    if (entry.outcome && entry.outcome !== "ok") tags.push([isAnswer(entry) ? "note" : "fault", said(entry.outcome)]);
    if (entry.rule !== null) tags.push(["rule", entry.rule]);
    if (entry.stream) tags.push(["stream", "stream"]);
    const key = JSON.stringify(tags);
    if (key === this.shownTags) return;
    this.shownTags = key;
    this.tags.replaceChildren(
      ...tags.map(([kind, text]) => make("span", { class: `tag ${kind}`, title: kind === "rule" ? `rule ${text}` : null }, text)),
    );
  }

  /** What was sent and answered: made only when it is looked at. */
  fill() {
    const { entry } = this;
    const facts = [
      ["request id", entry.request_id ?? "none"],
      ["scope", entry.scope],
      ["journal", `seq ${entry.seq}`],
      ["API", `${entry.provider} ${entry.api}`],
      ["upstream model", entry.model ?? "none"],
      ["taken by", entry.rule === null ? "no rule" : `rule ${entry.rule}`],
      ["outcome", entry.outcome ?? "running"],
      ["asked at", clock(entry.started_at)],
      ["first byte", entry.first_byte_at ? `after ${lasted(entry.first_byte_at - entry.started_at)}` : "none"],
      ["over", entry.ended_at ? `after ${lasted(entry.ended_at - entry.started_at)}` : "not yet"],
    ];
    if (entry.response?.chunks != null) facts.push(["events", `${entry.response.chunks}`]);
    if (entry.response?.finish) facts.push(["finish", entry.response.finish]);
    this.panel.replaceChildren(
      make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
      make(
        "div",
        { class: "bodies" },
        body("Request", entry.request),
        body("Answer", entry.response ? entry.response.body : isRunning(entry) ? "(running)" : "(none was sent)"),
      ),
      make("details", { class: "headers" }, make("summary", {}, "Headers of the request"), pre(entry.headers)),
    );
  }
}

const said = (/** @type {string} */ outcome) =>
  outcome === "fault:status" ? "fault" : outcome.replace(":", ": ").replace("_", " ");

function stretch(/** @type {HTMLElement} */ bar, /** @type {number} */ from, /** @type {number} */ to) {
  bar.style.left = `${Math.max(from, 0)}%`;
  bar.style.width = `${Math.max(to - from, 0)}%`;
}

function body(/** @type {string} */ title, /** @type {unknown} */ value) {
  const shown = pre(value);
  const copy = make("button", { type: "button", class: "small" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(written(value));
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1200);
  });
  return make("section", { class: "body" }, make("header", {}, make("h3", {}, title), copy), shown);
}

const written = (/** @type {unknown} */ value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function pre(/** @type {unknown} */ value) {
  const text = written(value);
  const cut = text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}\n… ${text.length - MOST_TEXT} more characters` : text;
  return make("pre", { tabindex: "0" }, cut);
}

class Row {
  /** A client's request with its attempts underneath. */
  constructor(/** @type {ClientRequest} */ request) {
    this.request = request;
    this.time = make("time", { class: "at" });
    this.asked = make("span", { class: "asked" });
    this.text = make("span", { class: "text" });
    this.scope = make("span", { class: "scope" });
    this.verdict = make("span", { class: "verdict" });
    this.total = make("span", { class: "total" });
    /** @type {Map<number, Attempt>} */ this.attempts = new Map();
    this.lines = make("ol", { class: "attempts" });
    this.element = make(
      "li",
      { class: "request" },
      make("div", { class: "head" }, this.time, this.asked, this.text, this.scope, this.verdict, this.total),
      this.lines,
    );
  }

  draw() {
    const attempts = this.request.attempts;
    const [first] = attempts;
    const last = attempts[attempts.length - 1];
    const begin = Math.min(...attempts.map((entry) => entry.started_at));
    const end = Math.max(...attempts.map((entry) => entry.ended_at ?? now()), begin);
    put(this.time, clock(begin));
    this.time.setAttribute("datetime", new Date(begin * 1000).toISOString());
    put(this.asked, nameOf(first));
    const text = askedText(first.request);
    put(this.text, text.slice(0, 300));
    this.text.title = text.slice(0, 1000);
    put(this.scope, state.scope === ALL ? first.scope : "");
    const [kind, verdict] = verdictOf(attempts, first, last);
    this.element.dataset.kind = kind;
    put(this.verdict, verdict);
    put(this.total, lasted(end - begin));
    let before = null;
    for (const entry of attempts) {
      let attempt = this.attempts.get(entry.seq);
      if (!attempt) {
        attempt = new Attempt(entry);
        this.attempts.set(entry.seq, attempt);
        this.lines.append(attempt.element);
        if (list.open.delete(entry.seq)) attempt.toggle(true);
      }
      attempt.draw(entry, before, begin, end);
      before = entry;
    }
    this.request.dirty = this.request.unsettled;
  }

  get isOpen() {
    return [...this.attempts.values()].some((attempt) => attempt.open);
  }
}

/** @returns {[string, string]} */
function verdictOf(/** @type {Entry[]} */ attempts, /** @type {Entry} */ first, /** @type {Entry} */ last) {
  if (attempts.some(isRunning)) return ["running", "running"];
  if (!isAnswer(last)) {
    const how = last.status !== null && last.status >= 400 ? `failed with ${last.status}` : "no answer";
    if (mayGoOn(last)) return ["running", `${how} so far`];
    return ["bad", attempts.length > 1 ? `${how}, ${attempts.length} attempts` : how];
  }
  if (nameOf(last) !== nameOf(first)) return ["fallback", `answered by ${nameOf(last)}`];
  return ["good", attempts.length > 1 ? `answered, attempt ${attempts.length}` : "answered"];
}

const list = {
  /** @type {Set<number>} */ open: new Set(), // panels to be opened again
  waiting: false,

  /** Draws what has changed, once for all that happens until the next frame. */
  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  },

  /** Whether new requests would move what somebody is reading. */
  get reading() {
    return $("list").childElementCount > 0 && (window.scrollY > 60 || openPanels().size > 0);
  },

  draw(all = false) {
    const hold = !all && this.reading;
    if (all || !state.paused) {
      for (const request of state.requests.values()) {
        if (!request.row && hold) continue;
        if (!request.row) this.show(request);
        if (request.dirty) request.row?.draw();
      }
    }
    this.sift();
  },

  show(/** @type {ClientRequest} */ request) {
    request.row = new Row(request);
    $("list").prepend(request.row.element);
  },

  /** Shows what was held back. */
  release() {
    this.draw(true);
    window.scrollTo({ top: 0 });
  },

  sift() {
    const text = $("filter").value.trim().toLowerCase();
    const model = $("model").value;
    let shown = 0;
    let drawn = 0;
    for (const request of state.requests.values()) {
      if (!request.row) continue;
      const fits = request.fits(text, model);
      request.row.element.hidden = !fits;
      drawn += 1;
      if (fits) shown += 1;
    }
    const waiting = state.requests.size - drawn;
    put($("count"), text || model ? `${shown} of ${drawn}` : drawn >= MOST_REQUESTS ? `the newest ${drawn}` : `${drawn}`);
    const held = $("held");
    held.hidden = waiting === 0;
    put(held, `${waiting} new — show`);
    $("empty").hidden = shown > 0 || waiting > 0;
    if (!shown) put($("empty"), drawn ? "No request fits the filter." : "No requests yet. They appear here as they are made.");
  },
};

function openPanels() {
  const open = new Set();
  for (const { row } of state.requests.values())
    if (row) for (const [seq, attempt] of row.attempts) if (attempt.open) open.add(seq);
  return open;
}

// -- the script -------------------------------------------------------------------------------------------------

function drawScripts() {
  const scripts = [...state.scripts.values()].sort((one, other) => (one.scope < other.scope ? -1 : 1));
  const rules = scripts.reduce((sum, script) => sum + script.rules.length, 0);
  put($("script-summary"), rules === 1 ? "1 rule" : `${rules} rules`);
  if (!scripts.length) {
    $("scripts").replaceChildren(make("p", { class: "quiet" }, "No scope has rules: every request gets the simulator's own reply."));
    return;
  }
  $("scripts").replaceChildren(...scripts.map(drawScript));
  drawCountdowns();
}

function drawScript(/** @type {Script} */ script) {
  const strict = script.strict
    ? make("span", { class: "tag strict", title: "A request that no rule takes is an error" }, "strict")
    : make("span", { class: "tag", title: "A request that no rule takes gets the simulator's own reply" }, "not strict");
  const cassette = state.cassettes.has(script.scope)
    ? make("span", { class: "tag", title: "What no rule takes is replayed from a cassette" }, "cassette")
    : null;
  return make(
    "section",
    { class: "one-script" },
    make("header", {}, make("h3", { title: script.scope }, script.scope), cassette, strict),
    script.rules.length ? make("ol", { class: "rules" }, ...script.rules.map((rule) => drawRule(rule, script))) : null,
    script.rules.length ? null : make("p", { class: "quiet" }, "No rules of its own."),
    script.inherit && script.scope !== "default" ? make("p", { class: "quiet" }, "Then those of scope default.") : null,
  );
}

function drawRule(/** @type {Rule} */ rule, /** @type {Script} */ script) {
  const idle = !rule.in_force;
  const then = rule.fault ? faultOf(rule.fault) : replyOf(rule.reply);
  const counters = make("p", { class: "counters" }, make("span", { class: "used" }, usedOf(rule)));
  if (rule.left !== null) counters.append(make("span", { class: "left" }, `${rule.left} left`));
  if (rule.expires_in !== null) {
    const until = (script.told_at ?? Date.now()) + rule.expires_in * 1000;
    counters.append(make("span", { class: "expires", "data-until": `${until}` }));
  }
  if (idle) counters.append(make("span", { class: "idle" }, rule.left === 0 ? "used up" : "not in force"));
  return make(
    "li",
    { class: "rule", "data-idle": idle },
    make("p", { class: "title" }, make("strong", {}, rule.name ?? `#${rule.id}`)),
    make("p", { class: "when", title: whenOf(rule.when ?? {}) }, make("span", { class: "word" }, "when "), whenOf(rule.when ?? {})),
    make("p", { class: "then", title: then }, make("span", { class: "word" }, rule.fault ? "fault " : "reply "), then),
    extrasOf(rule),
    counters,
  );
}

const usedOf = (/** @type {Rule} */ rule) =>
  rule.left === null ? `used ${rule.used}` : `used ${rule.used} of ${rule.used + rule.left}`;

/** @returns {string} */
function whenOf(/** @type {Record<string, unknown>} */ when) {
  const parts = Object.entries(when).map(([name, value]) => `${name.replace("_", " ")} ${matchOf(value)}`);
  return parts.length ? parts.join(", ") : "always";
}

/** @returns {string} */
function matchOf(/** @type {any} */ value) {
  if (Array.isArray(value)) return value.map(matchOf).join(" or ");
  if (value && typeof value === "object")
    return Object.entries(value)
      .map(([name, inner]) => `${name} ${matchOf(inner)}`)
      .join(", ");
  return typeof value === "string" ? `“${value}”` : `${value}`;
}

/** @returns {string} */
function faultOf(/** @type {any} */ fault) {
  if (typeof fault !== "object") return `${fault}`;
  const { kind, ...rest } = fault;
  const more = Object.entries(rest).map(([name, value]) => (name === "status" ? `${value}` : `${name.replace("_", " ")} ${value}`));
  return [kind === "status" && rest.status ? "" : `${kind}`.replace("_", " "), ...more].filter(Boolean).join(", ");
}

/** @returns {string} */
function replyOf(/** @type {any} */ reply) {
  if (typeof reply !== "object" || reply === null) return `“${reply}”`;
  const parts = [];
  if (reply.text != null) parts.push(`“${reply.text}”`);
  if (reply.json !== undefined) parts.push(JSON.stringify(reply.json));
  if (reply.refusal != null) parts.push(`refusal “${reply.refusal}”`);
  for (const tool of reply.tool_calls ?? []) parts.push(`calls ${tool.name}`);
  for (const name of ["finish_reason", "reasoning_tokens", "prompt_tokens", "timing"])
    if (reply[name] != null) parts.push(`${name.replace("_", " ")} ${matchOf(reply[name])}`);
  return parts.join(", ") || "the simulator's own";
}

function extrasOf(/** @type {Record<string, any>} */ rule) {
  const parts = ["for", "after", "flapping", "probability", "priority"]
    .filter((name) => rule[name] !== undefined && rule[name] !== null)
    .map((name) => `${name} ${matchOf(rule[name])}${["for", "after"].includes(name) ? " s" : ""}`);
  return parts.length ? make("p", { class: "extras" }, parts.join(", ")) : null;
}

function drawCountdowns() {
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = (Number(/** @type {HTMLElement} */ (element).dataset.until) - Date.now()) / 1000;
    put(element, left > 0 ? `expires in ${Math.ceil(left)} s` : "expired");
    if (left <= 0 && left > -2) scriptsMoved(/** @type {any} */ (element).closest(".one-script").querySelector("h3").textContent);
  }
}

// -- the tools --------------------------------------------------------------------------------------------------

function say(/** @type {string} */ connection, detail = "") {
  const shown = $("connection");
  shown.dataset.state = state.paused && connection === "live" ? "paused" : connection;
  put(shown, shown.dataset.state);
  shown.title = detail;
  notice(detail);
}

function notice(/** @type {string} */ text) {
  $("notice").hidden = !text;
  put($("notice"), text);
}

function showScopes(/** @type {string[]} */ names) {
  const select = $("scope");
  const known = new Set([...select.options].map((option) => option.value));
  if (state.all && !known.has(ALL)) select.prepend(make("option", { value: ALL, title: `all but ${PROBES}` }, "all"));
  for (const name of names) if (!known.has(name)) addOption(select, name, name);
}

async function enter(/** @type {string} */ key) {
  state.key = key;
  const me = await read("me");
  sessionStorage.setItem(KEY, key);
  state.all = me.all;
  $("scope").replaceChildren();
  showScopes(me.all ? ["default"] : [me.scope]);
  $("login").hidden = true;
  $("app").hidden = false;
  follow(me.all ? ALL : me.scope);
}

function askKey(message = "") {
  state.following.abort();
  putAway();
  sessionStorage.removeItem(KEY);
  $("app").hidden = true;
  $("login").hidden = false;
  put($("login-error"), message);
  $("key").value = "";
  $("key").focus();
}

function refusalOf(/** @type {unknown} */ error) {
  if (!(error instanceof Refused)) return "The gateway does not answer.";
  return error.status === 401 ? "The gateway does not know this key." : error.message;
}

async function tryKey(/** @type {string} */ key) {
  try {
    await enter(key);
  } catch (error) {
    askKey(refusalOf(error));
  }
}

function start() {
  $("login").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    tryKey($("key").value.trim());
  });
  $("scope").addEventListener("change", () => follow($("scope").value));
  $("model").addEventListener("change", () => list.sift());
  $("filter").addEventListener("input", () => list.sift());
  $("held").addEventListener("click", () => list.release());
  $("leave").addEventListener("click", () => askKey());
  $("pause").addEventListener("click", () => {
    state.paused = !state.paused;
    $("pause").setAttribute("aria-pressed", `${state.paused}`);
    put($("pause"), state.paused ? "Resume" : "Pause");
    const { state: connection } = $("connection").dataset;
    if (connection === "live" || connection === "paused") say("live");
    list.later();
  });
  $("clear").addEventListener("click", async () => {
    await call("journal", { scope: state.scope }, { method: "DELETE" }).catch((error) => notice(error.message));
  });
  window.addEventListener("scroll", () => window.scrollY < 5 && list.later(), { passive: true });
  if (matchMedia("(max-width: 62rem)").matches) $("script-panel").open = false;
  setInterval(() => {
    if ([...state.requests.values()].some((request) => request.row && request.unsettled)) list.later();
  }, 200);
  setInterval(drawCountdowns, 1000);

  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  const key = given ?? sessionStorage.getItem(KEY);
  if (key) tryKey(key);
  else askKey();
}

start();
