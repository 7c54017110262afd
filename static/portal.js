// The portal's one script: what pages do better with JavaScript. Without it every page still works.
// A live change is a hint: the page is fetched again through the view that drew it, and the parts
// that differ are swapped in place.

const root = document.documentElement;
root.classList.add("js");
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// --- theme: the server reads the same cookie, so that a page is never painted in the other one ---

document.addEventListener("click", (event) => {
  const choice = event.target.closest("[data-theme-choice]");
  if (!choice) return;
  event.preventDefault();
  const theme = choice.dataset.themeChoice;
  if (theme === "system") root.removeAttribute("data-bs-theme");
  else root.setAttribute("data-bs-theme", theme);
  document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  for (const each of $$("[data-theme-choice]")) {
    each.setAttribute("aria-pressed", String(each === choice));
  }
  closeMenus();
});

// --- menus -------------------------------------------------------------------------------------

function closeMenus(except) {
  for (const menu of $$("details.y-menu[open]")) if (menu !== except) menu.open = false;
}

function placeMenu(menu) {
  // A table that scrolls sideways would cut the menu off: there it is placed on the window.
  const list = $(":scope > .dropdown-menu", menu);
  if (!list || !menu.closest(".y-wrap")) return;
  const at = $(":scope > summary", menu).getBoundingClientRect();
  list.style.position = "fixed";
  list.style.right = `${root.clientWidth - at.right}px`;
  const below = window.innerHeight - at.bottom;
  const above = below < list.offsetHeight + 8 && at.top > list.offsetHeight;
  list.style.top = above ? "auto" : `${at.bottom + 4}px`;
  list.style.bottom = above ? `${window.innerHeight - at.top + 4}px` : "auto";
}

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.("details.y-menu") || !menu.open) return;
  closeMenus(menu);
  placeMenu(menu);
}, true);

document.addEventListener("click", (event) => {
  const menu = event.target.closest("details.y-menu");
  closeMenus(menu);
});
window.addEventListener("scroll", (event) => {
  for (const menu of $$(".y-wrap details.y-menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
}, true);

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.y-menu[open]");
  if (menu && event.key === "Escape") {
    menu.open = false;
    $(":scope > summary", menu).focus();
    return;
  }
  const ticks = event.target.type === "checkbox";
  const writes = !ticks && event.target.closest?.("input, select, textarea");
  if (menu && !writes && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const items = $$(".dropdown-item:not(label, [disabled]), label.dropdown-item input", menu);
    if (!items.length) return;
    event.preventDefault();
    const step = event.key === "ArrowDown" ? 1 : -1;
    // Fast fingers come before the toggle event: an item that is not in its place yet would be
    // scrolled to, and that closes the menu.
    placeMenu(menu);
    const now = items.indexOf(document.activeElement);
    items[(now < 0 && step < 0 ? -1 : now + step + items.length) % items.length]?.focus();
    return;
  }
  if (event.key === "Escape") {
    const close = $("[data-close-panel]");
    if (close) close.click();
    $(".y-side.open")?.classList.remove("open");
  }
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = $("#search");
    if (search && search.offsetParent) {
      event.preventDefault();
      search.focus();
    }
  }
});

// --- small parts: side bar on phones, copying, folding, forms that send themselves --------------

document.addEventListener("click", async (event) => {
  const burger = event.target.closest(".y-burger");
  const side = $(".y-side");
  if (burger) {
    event.preventDefault();
    const open = side.classList.toggle("open");
    burger.setAttribute("aria-expanded", String(open));
    if (open) $("a, summary", side).focus();
    return;
  }
  if (side?.classList.contains("open") && !event.target.closest(".y-side")) {
    side.classList.remove("open");
    $(".y-burger").setAttribute("aria-expanded", "false");
  }

  const copy = event.target.closest("[data-copy]");
  if (copy) {
    await copyText(copy.dataset.copy);
    say(copy.dataset.copied || "Copied.");
  }

  const filters = event.target.closest("[data-filters]");
  if (filters) {
    const open = filters.closest(".y-filters").classList.toggle("open");
    filters.setAttribute("aria-expanded", String(open));
  }

  const fold = event.target.closest("[data-fold]");
  if (fold) {
    const more = document.getElementById(fold.dataset.fold);
    const open = more.hidden;
    more.hidden = !open;
    fold.setAttribute("aria-expanded", String(open));
    fold.closest("tbody")?.classList.toggle("more-open", open);
  }

  const dismiss = event.target.closest("[data-dismiss]");
  if (dismiss) dismiss.closest(".y-toast").remove();

  const unfold = event.target.closest("[data-unfold-all]");
  if (unfold) for (const each of $$("details", document.getElementById(unfold.dataset.unfoldAll))) each.open = true;
});

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Plain HTTP has no clipboard: copy through a field that nobody sees.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

document.addEventListener("change", (event) => {
  if (event.target.closest("[data-submit-on-change]")) event.target.form.requestSubmit();
});

document.addEventListener("input", (event) => {
  const wanted = event.target.dataset?.confirms;
  if (wanted === undefined) return;
  $("[data-needs-name]", event.target.form).disabled = event.target.value.trim() !== wanted;
});

document.addEventListener("toggle", (event) => {
  const key = event.target.dataset?.remember;
  if (key) sessionStorage.setItem(`fold:${key}`, event.target.open ? "1" : "0");
}, true);

// Rows that were folded or open stay so when a live change replaces them.
function keepFolds(before, after) {
  if (before.classList.contains("more-open")) {
    after.classList.add("more-open");
    const more = $("tr.more", after);
    if (more) more.hidden = false;
    $("[data-fold]", after)?.setAttribute("aria-expanded", "true");
  }
  for (const fold of $$("details[data-remember]", after)) {
    const kept = sessionStorage.getItem(`fold:${fold.dataset.remember}`);
    if (kept !== null) fold.open = kept === "1";
  }
}

function prepare(within) {
  for (const more of $$("tr.more", within)) {
    if (!more.closest("tbody").classList.contains("more-open")) more.hidden = true;
  }
  keepFolds(document.body, within);
}

// --- times that stay true ----------------------------------------------------------------------

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function span(seconds) {
  const [size, unit] = UNITS.find(([each]) => seconds >= each) || UNITS[3];
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

// The portal's clock decides; this page may sit on a machine whose clock is wrong.
const skew = Date.parse($("meta[name=now]")?.content || new Date().toISOString()) - Date.now();
const now = () => Date.now() + skew;

function tick() {
  for (const time of $$("time[data-age]")) {
    const words = time.dataset.age;
    const past = (now() - Date.parse(time.dateTime)) / 1000;
    const text = span(words === "in" ? -past : past);
    const next = words === "ago" ? `${text} ago` : `${words} ${text}`;
    if (time.textContent !== next) time.textContent = next;
  }
  for (const time of $$("time[data-timer]")) {
    const seconds = Math.max(0, Math.floor((now() - Date.parse(time.dateTime)) / 1000));
    time.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}
setInterval(tick, 1000);

// --- toasts ------------------------------------------------------------------------------------

function say(text) {
  const place = $("#said");
  if (place) place.textContent = text;
}

function toast(kind, title, text, link) {
  const place = $("#toasts");
  const form = $(`#toast-${kind}`);
  if (!place || !form) return;
  const made = form.content.firstElementChild.cloneNode(true);
  $("[data-title]", made).textContent = title;
  $("[data-text]", made).textContent = text;
  const go = $("a", made);
  if (link) go.href = link;
  else go.remove();
  place.append(made);
  if (kind === "failed") return; // a failed one stays
  let left = setTimeout(() => made.remove(), 8000);
  made.addEventListener("mouseenter", () => clearTimeout(left));
  made.addEventListener("mouseleave", () => { left = setTimeout(() => made.remove(), 8000); });
}

// --- own runs: a notification and a sound on success, a toast alone otherwise --------------------

let audio;
document.addEventListener("pointerdown", () => {
  // A browser lets a page sound only after the person touched it.
  audio ??= new AudioContext();
  if (audio.state === "suspended") audio.resume();
}, { once: false });

function chime() {
  if (!audio || audio.state !== "running") return;
  for (const [delay, pitch] of [[0, 660], [0.13, 880]]) {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.0001, audio.currentTime + delay);
    volume.gain.exponentialRampToValueAtTime(0.12, audio.currentTime + delay + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + delay + 0.3);
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + delay);
    tone.stop(audio.currentTime + delay + 0.32);
  }
  root.dataset.chimed = String(Number(root.dataset.chimed || 0) + 1);
}

async function nameOf(id) {
  const answer = await fetch(`/jobs/${id}`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { name: $("h1", page)?.textContent.trim(), says: $("#run-says", page)?.textContent.trim() || "" };
}

const ENDED = { "run.completed": "done", "run.failed": "failed", "run.timed_out": "timed out", "run.canceled": "canceled" };

// One tab tells of a success, rather one that may sound and is seen. Whether it was the first to
// take the lock decides; it is kept until the slower tabs have asked.
function alone(id, act) {
  if (!navigator.locks) return act();
  const later = (audio?.state === "running" ? 0 : 500) + (document.hidden ? 250 : 0);
  setTimeout(() => navigator.locks.request(`told:${id}`, { ifAvailable: true }, async (first) => {
    if (!first) return;
    act();
    await new Promise((over) => { setTimeout(over, 5000); });
  }), later);
}

async function tellStarter(kind, id) {
  if (kind === "run.completed") alone(id, () => tellOfEnd(kind, id));
  else await tellOfEnd(kind, id);
}

async function tellOfEnd(kind, id) {
  const run = await nameOf(id);
  if (!run) return;
  const link = `/jobs/${id}`;
  if (kind === "run.completed") {
    chime();
    if (window.Notification?.permission === "granted") {
      const note = new Notification(`${run.name} is done`, { body: run.says, tag: id });
      note.onclick = () => { window.focus(); location.href = link; };
    }
    say(`${run.name} is done.`);
    return;
  }
  toast(kind === "run.canceled" ? "canceled" : "failed", `${run.name} ${ENDED[kind]}`, run.says, link);
}

document.addEventListener("click", async (event) => {
  if (!event.target.closest("[data-ask-notifications]") || !window.Notification) return;
  await Notification.requestPermission();
  showNotificationChoice();
});

function showNotificationChoice() {
  for (const each of $$("[data-ask-notifications]")) {
    each.hidden = !window.Notification || Notification.permission !== "default";
  }
}

// --- live --------------------------------------------------------------------------------------

const KINDS = [
  "run.pending", "run.claimed", "run.running", "run.validating", "run.uploading", "run.completed",
  "run.failed", "run.canceled", "run.timed_out", "run.changed", "run.log", "run.progress",
  "run.late_report", "run.accepted", "run.rejected", "run.superseded", "run.pinned", "run.unpinned",
  "run.retried", "run.given_up",
  "job.changed", "job.skipped", "job.missed", "site.changed", "snapshot.accepted", "agent.enrolled", "agent.changed", "agent.lost",
  "agent.seen", "agent.retired",
];
const place = $("[data-live]");
const stale = new Set(); // ids whose rows are to be fetched again
const fresh = new Set(); // ids of runs that the list does not show yet
const waiting = new Set(); // those of them that match the list's filters
const told = new Set();
let everything = false; // fetch all live parts again
let timer = 0;
let busy = false;
let lastSeen = now();

function parts() {
  return $$("[data-part]");
}

// The bell asks for its number again once what failed may be told of: a few seconds later, and no
// more than twice a minute, however much fails. What fails in between is asked for at the end of it.
const BAD = new Set(["run.failed", "run.timed_out", "run.given_up", "job.missed"]);
let rings = 0;
let missed = false;

function ring(kind) {
  if (!BAD.has(kind)) return;
  if (rings) {
    missed = true;
    return;
  }
  setTimeout(() => htmx.trigger(document.body, "news"), 6000 + Math.random() * 4000);
  rings = setTimeout(() => {
    rings = 0;
    if (missed) {
      missed = false;
      ring(kind);
    }
  }, 30_000);
}

function hear(kind, data) {
  ring(kind);
  const id = data.id;
  if (data.mine && ENDED[kind] && !told.has(id)) {
    told.add(id);
    tellStarter(kind, id);
  }
  if (!place) return;
  const [family, what] = kind.split(".");
  const hint = what === "log" || what === "progress";
  const names = [id, data.job, hint ? null : family].filter(Boolean);
  const watched = parts().some((each) => each.dataset.part.split(" ").some((one) => names.includes(one)));
  if (watched) for (const name of [id, data.job].filter(Boolean)) stale.add(name);
  else if (kind === "run.pending" && place.dataset.live === "runs") fresh.add(id);
  else return;
  schedule();
}

function schedule() {
  // A page that nobody sees is fetched again when somebody does.
  if (timer || busy || document.hidden) return;
  timer = setTimeout(catchUp, 150);
}

async function catchUp() {
  timer = 0;
  busy = true;
  const url = new URL(location.href);
  url.hash = "";
  const rowwise = place.dataset.live !== "page" && !everything;
  if (rowwise) {
    url.searchParams.set("rows", [...stale].join(","));
    if (fresh.size) url.searchParams.set("fresh", [...fresh].join(","));
  }
  const asked = new Set(fresh);
  stale.clear();
  fresh.clear();
  everything = false;
  try {
    const answer = await fetch(url, { headers: { "HX-Request": "true", "X-Live": "1" } });
    if (answer.redirected && new URL(answer.url).pathname !== url.pathname) return location.reload();
    if (answer.status === 404 || answer.status === 403) return location.reload();
    if (answer.ok) swap(await answer.text(), asked);
  } catch {
    // The stream's own error handler says that the page is not live.
  } finally {
    busy = false;
    if (stale.size || fresh.size || everything) schedule();
  }
}

function swap(html, asked = new Set()) {
  const page = new DOMParser().parseFromString(html, "text/html");
  // Of the whole page: rows above the first known one began while nothing was heard.
  let above = asked.size === 0;
  for (const next of $$("[data-part]", page)) {
    const old = document.getElementById(next.id);
    const row = next.matches("tbody");
    if (!old) {
      if (place.dataset.live === "runs" && row && (above || asked.has(next.dataset.part))) waiting.add(next.dataset.part);
      continue;
    }
    if (row) above = false;
    prepare(next);
    keepFolds(old, next);
    if (sameText(old, next)) continue;
    // What a person is using is left alone until they are done with it.
    if (old.contains(document.activeElement) && old.querySelector("details.y-menu[open]")) continue;
    const bottom = atBottom(old);
    const focused = old.contains(document.activeElement) ? spoken(document.activeElement) : null;
    old.replaceWith(document.adoptNode(next));
    // Who stands there with the keyboard goes on from the same place.
    if (focused) reachable(next).find((each) => spoken(each) === focused)?.focus({ preventScroll: true });
    window.htmx?.process(next);
    if (bottom) toBottom(next);
  }
  lastSeen = now();
  showWaiting();
  tick();
}

function reachable(within) {
  return $$("a[href], button, summary, input, select, textarea", within);
}

function spoken(element) {
  const name = element.getAttribute("aria-label") || element.name || element.textContent.trim();
  return `${element.tagName} ${name}`;
}

function sameText(old, next) {
  const bare = (node) => node.outerHTML.replace(/<time data-[^>]*>[^<]*<\/time>/g, "").replace(/ style="[^"]*"/g, "").replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
  return bare(old) === bare(next);
}

function atBottom(within) {
  const log = $(".y-log.long", within) || (within.matches(".y-log.long") ? within : null);
  return log && log.scrollTop + log.clientHeight >= log.scrollHeight - 30;
}

function toBottom(within) {
  const log = $(".y-log.long", within) || (within.matches(".y-log.long") ? within : null);
  if (log) log.scrollTop = log.scrollHeight;
}

function showWaiting() {
  const bar = $("#fresh");
  if (!bar) return;
  bar.hidden = waiting.size === 0;
  $("b", bar).textContent = waiting.size === 1 ? "1 new run" : `${waiting.size} new runs`;
}

function live(on) {
  const sign = $(".y-live");
  const note = $("#not-live");
  if (sign) {
    sign.classList.toggle("off", !on);
    sign.textContent = on ? "Live" : "Not live";
  }
  if (!note) return;
  if (!on && note.hidden) {
    const at = new Date(lastSeen);
    $("[data-at]", note).textContent = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  }
  note.hidden = on;
}

// All tabs of a browser share one stream: HTTP/1.1 allows six connections to a host, so that with
// six streams a seventh tab would wait for ever. The tab that holds the lock listens and tells the
// others; when it goes, the next one takes over. Locks need a secure address: without them each
// visible tab listens for itself. The name holds the person, so that nobody hears another's news.

const person = $("meta[name=live]")?.content;
const channel = person && window.BroadcastChannel ? new BroadcastChannel(`live:${person}`) : null;
let stream = null; // of this tab, when it is the one that listens
let up = false; // whether that stream is open
let away = null; // ends this tab's turn, or its wait for one
let failing = 0;

function take(news) {
  if (news.what === "up") {
    // Subscribed first, then the state is fetched: nothing falls between the two.
    clearTimeout(failing);
    failing = 0;
    live(true);
    root.dataset.stream = "up";
  }
  // A stream ends every few minutes by itself and is back at once: say nothing before 4 s.
  if (news.what === "down" && !failing) failing = setTimeout(() => live(false), 4000);
  if ((news.what === "up" || news.what === "resync") && place) {
    everything = true;
    schedule();
  }
  if (news.what === "event") hear(news.kind, news.data);
  if (news.what === "who" && stream) channel.postMessage({ what: up ? "up" : "down" });
}

function tell(news) {
  channel?.postMessage(news);
  take(news);
}

function open() {
  stream = new EventSource("/live/events");
  stream.onopen = () => {
    up = true;
    tell({ what: "up" });
  };
  stream.onerror = () => {
    up = false;
    tell({ what: "down" });
    if (stream.readyState !== EventSource.CLOSED) return;
    const ended = stream;
    setTimeout(() => { if (stream === ended) open(); }, 2000 + Math.random() * 4000);
  };
  stream.addEventListener("resync", () => tell({ what: "resync" }));
  const got = (event) => {
    let data = {};
    try {
      data = JSON.parse(event.data);
    } catch {
      return;
    }
    tell({ what: "event", kind: event.type === "message" ? data.kind : event.type, data });
  };
  for (const kind of [...KINDS, "message"]) stream.addEventListener(kind, got);
}

function listen() {
  if (away) return;
  if (!navigator.locks || !channel) {
    away = () => stream?.close();
    open();
    return;
  }
  const waiting = new AbortController();
  away = () => waiting.abort();
  take({ what: "down" }); // until the tab that listens says otherwise
  channel.postMessage({ what: "who" });
  const turn = () => new Promise((over) => {
    away = () => {
      stream.close();
      over();
    };
    open();
  });
  navigator.locks.request(`live:${person}`, { signal: waiting.signal }, turn).catch(() => {});
}

function stopListening() {
  away?.();
  away = null;
  stream = null;
  up = false;
}

if (channel) channel.onmessage = (event) => take(event.data);
if (person) {
  window.addEventListener("pagehide", stopListening);
  window.addEventListener("pageshow", listen);
  document.addEventListener("visibilitychange", () => {
    // A shared stream goes on behind other windows: what ends there is to be heard.
    if (!navigator.locks || !channel) {
      if (document.hidden) stopListening();
      else listen();
    }
    if (!document.hidden && (stale.size || fresh.size || everything)) schedule();
  });
}

document.addEventListener("htmx:afterSettle", () => {
  prepare(document);
  tick();
});

prepare(document);
tick();
for (const log of $$(".y-log.long")) log.scrollTop = log.scrollHeight;
showNotificationChoice();
if (person) listen();
