// The status page of an order that is not settled. It listens on a WebSocket and fetches the moving part again whenever
// something has happened. Without a socket it polls. Either way the server renders what the page shows.

import { arrived } from "./cart.js";
import { within } from "./within.js";

const order = document.getElementById("order");
const progress = document.getElementById("progress");
const announcement = document.getElementById("announcement");
const connection = document.getElementById("connection");
const cancelFailed = document.getElementById("cancel-failed");
const id = order.dataset.id;

// Seconds. The estimate changes even if nothing happens, so the part is fetched again, less and less often.
const REFRESH = 4;
const SELDOM = 15;
const POLL = 3;
const FIRST_WAIT = 0.5;
const LONGEST_WAIT = 20;
// How long to poll before another attempt to connect, when the server has too many watchers.
const WHEN_FULL = 15;
const CLOSED_FULL = 1013;

const state = () => document.getElementById("state");
const version = () => Number(state()?.dataset.version ?? 0);
// A request to cancel is recorded before it changes the order's version.
const stand = (of) => `${of?.dataset.version} ${of?.dataset.cancelRequested}`;
const isSettled = () => state()?.dataset.settled === "true";
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const jittered = (seconds) => seconds * (0.75 + Math.random() / 2);

arrived();
localTimes();

// Replaces UTC by the customer's local time.
function localTimes() {
  for (const time of progress.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const today = at.toDateString() === new Date().toDateString();
    time.textContent = at.toLocaleString([], today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
  }
}

// ---- The moving part: one request at a time. Any number of calls during a request cause one more request after it.

let asking = null;
let again = false;

function show(html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const moved = fresh.content.getElementById("state");
  if (!moved) throw new Error("that is not the moving part");
  // If nothing happened, only the estimate is replaced. Replacing more would interrupt a customer about to press a button,
  // or a screen reader.
  if (stand(moved) === stand(state())) return showEstimate(fresh.content);
  const focused = document.activeElement && progress.contains(document.activeElement) ? document.activeElement.id : null;
  const before = document.getElementById("headline")?.textContent;
  progress.replaceChildren(fresh.content);
  localTimes();
  const headline = document.getElementById("headline");
  if (headline.textContent !== before) {
    announcement.textContent = headline.textContent;
    document.title = document.title.replace(/: .* · /, `: ${headline.textContent} · `);
  }
  // If the focused button no longer exists, the focus moves to the headline rather than to the top of the page.
  if (focused) (document.getElementById(focused) ?? headline).focus({ preventScroll: true });
}

function showEstimate(fresh) {
  const [now, shown] = [fresh.getElementById("estimate"), document.getElementById("estimate")];
  if (now && shown && shown.textContent !== now.textContent) shown.textContent = now.textContent;
}

async function fetchProgress() {
  try {
    const answer = await fetch(`/track/${id}/progress`, { signal: within(10) });
    if (answer.status === 404) {
      // The browser no longer has the order's cookie. The reloaded page explains that and says what to do.
      location.reload();
      return true;
    }
    if (!answer.ok) return false;
    show(await answer.text());
    return true;
  } catch {
    return false;
  }
}

function refresh() {
  if (asking) {
    again = true;
    return asking;
  }
  asking = (async () => {
    let wait = FIRST_WAIT;
    do {
      again = false;
      if (!(await fetchProgress())) {
        again = true;
        await pause(jittered(wait));
        wait = Math.min(LONGEST_WAIT, wait * 2);
      }
    } while (again);
    asking = null;
  })();
  return asking;
}

// ---- Listening

let wait = FIRST_WAIT;

function listen() {
  const address = new URL(`/orders/${id}/live?after=${version()}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return new Promise((ended) => {
    let socket;
    try {
      socket = new WebSocket(address);
    } catch {
      ended(null);
      return;
    }
    socket.addEventListener("open", () => {
      wait = FIRST_WAIT;
      connection.textContent = "";
    });
    socket.addEventListener("message", (event) => {
      const message = JSON.parse(event.data);
      if (message.type !== "end") refresh();
    });
    socket.addEventListener("close", (event) => ended(event.code));
  });
}

// Fetches the order itself, which is cheap: an unchanged order gets "304 Not Modified".
let tag = null;
async function poll() {
  try {
    const headers = tag ? { "If-None-Match": tag } : {};
    const answer = await fetch(`/orders/${id}`, { headers, cache: "no-store", signal: within(10) });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      if ((await answer.json()).version !== version()) await refresh();
    }
    if (answer.ok || answer.status === 304) {
      connection.textContent = "";
      return;
    }
  } catch { /* shown below; the caller tries again */ }
  connection.textContent = "The connection was lost. Connecting again…";
}

// Polls for this many seconds.
async function pollFor(seconds) {
  const until = Date.now() + seconds * 1000;
  do {
    await poll();
    if (isSettled()) return;
    await pause(Math.min(jittered(POLL), Math.max(0, (until - Date.now()) / 1000)));
  } while (Date.now() < until);
}

async function follow() {
  // A settled order may still get entries if a cancellation was requested. The socket reports the end as "final".
  for (;;) {
    const code = await listen();
    if (code === 1000) break;
    if (code === CLOSED_FULL) {
      await pollFor(jittered(WHEN_FULL));
    } else {
      await pollFor(jittered(wait));
      wait = Math.min(LONGEST_WAIT, wait * 2);
    }
    if (isSettled()) break;
  }
  await refresh();
  connection.textContent = "";
}

// Refreshes the estimate while nothing happens, at growing intervals.
async function tick() {
  for (let calm = REFRESH; !isSettled(); ) {
    await pause(jittered(calm));
    if (document.hidden || isSettled()) continue;
    const before = version();
    await refresh();
    calm = version() === before ? Math.min(SELDOM, calm * 1.5) : REFRESH;
  }
}
tick();

if (!isSettled()) follow();

// ---- Cancelling without leaving the page

progress.addEventListener("submit", async (event) => {
  if (event.target.id !== "cancel-form") return;
  event.preventDefault();
  const button = document.getElementById("cancel");
  if (button.getAttribute("aria-disabled")) return;
  const words = button.textContent;
  button.setAttribute("aria-disabled", "true");
  button.textContent = "Requesting…";
  cancelFailed.textContent = "";
  const isAsked = await askToCancel();
  if (isAsked) await refresh();
  else cancelFailed.textContent = "We do not know whether your request to cancel has reached us. Please try again: requesting it twice does no harm.";
  if (button.isConnected) {
    button.removeAttribute("aria-disabled");
    button.textContent = words;
  }
  if (isAsked) document.getElementById("headline").focus({ preventScroll: true });
});

async function askToCancel() {
  try {
    const answer = await fetch(`/orders/${id}/cancel`, { method: "POST", signal: within(15) });
    // 409: the order has shipped or failed; the page shows which.
    return answer.status === 202 || answer.status === 409;
  } catch {
    return false;
  }
}
