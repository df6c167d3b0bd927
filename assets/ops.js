// The console refreshes what is marked data-live by asking for the same page again: what it shows is the server's word, with
// this script or without. Nothing is replaced under the keyboard of somebody who is in it, nor while nobody sees it.

const EVERY = 2000;

async function refresh() {
  const live = document.querySelector("[data-live]");
  if (!live || document.hidden || live.contains(document.activeElement)) return;
  const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
  // Nobody is logged in any more: the page itself leads to where one logs in.
  if (answer.type === "opaqueredirect") return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById(live.id);
  if (fresh && fresh.innerHTML !== live.innerHTML) live.replaceWith(document.adoptNode(fresh));
}

async function go() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY));
    // Where there is no answer the page stays as it is, and the next one is asked for.
    await refresh().catch(() => {});
  }
}

if (document.querySelector("[data-live]")) go();
