// Refreshes the element marked data-live by requesting the same page again, so the server renders it with or without
// this script. Does not replace an element that has the focus, nor one in a hidden tab.

const EVERY = 2000;

async function refresh() {
  const live = document.querySelector("[data-live]");
  if (!live || document.hidden || live.contains(document.activeElement)) return;
  const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
  // The session has ended. Reloading the page redirects to the login.
  if (answer.type === "opaqueredirect") return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById(live.id);
  if (fresh && fresh.innerHTML !== live.innerHTML) live.replaceWith(document.adoptNode(fresh));
}

async function go() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY));
    // Without an answer the page stays unchanged until the next attempt.
    await refresh().catch(() => {});
  }
}

if (document.querySelector("[data-live]")) go();
