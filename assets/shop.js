// Enhances the shop's form: adds up the cart, remembers it, reports missing fields immediately, and retries automatically
// when the shop is overloaded. Every order is sent with the form's idempotency key: sent twice, it is one order.

import { money } from "./money.js";
import { notSent, remember, remembered, sent } from "./cart.js";
import { within } from "./within.js";

const form = document.getElementById("shop");
const at = (id) => document.getElementById(id);

// ---- The cart

// The products that have a field: those shown, and in the cart those chosen on other pages.
let shelves = [];
// Products in the stored cart that are not on this page yet: { sku: quantity }.
let missing = {};

function readShelves() {
  shelves = [...form.querySelectorAll("[data-sku]")].map((element) => ({
    element,
    sku: element.dataset.sku,
    name: element.dataset.name,
    price: Number(element.dataset.price),
    currency: element.dataset.currency,
    decimals: Number(element.dataset.decimals),
    input: element.querySelector("input"),
    amount: element.querySelector(".amount"),
  }));
  for (const shelf of shelves.filter((one) => one.input)) {
    for (const button of shelf.element.querySelectorAll("button[data-add]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        const next = (Number(shelf.input.value) || 0) + Number(button.dataset.add);
        shelf.input.value = Math.min(99, Math.max(0, next));
        tell(shelf.input, "");
        changed();
      });
    }
    shelf.input.addEventListener("input", changed);
    shelf.input.addEventListener("change", () => tell(shelf.input, wrongQuantity(shelf.input)));
  }
}

const isQuantity = (quantity) => Number.isInteger(quantity) && quantity >= 1 && quantity <= 99;
const quantityOf = (shelf) => {
  const quantity = shelf.input ? Number(shelf.input.value) : 0;
  return isQuantity(quantity) ? quantity : 0;
};

function showCart() {
  const chosen = shelves.filter((shelf) => quantityOf(shelf) > 0);
  const cost = (shelf) => money(shelf.price * quantityOf(shelf), shelf.currency, shelf.decimals);
  const lines = chosen.filter((shelf) => !shelf.amount).map((shelf) => {
    const line = document.createElement("li");
    const quantity = quantityOf(shelf);
    const texts = [["", shelf.name], ["number", cost(shelf)], ["soft", `${quantity} ${quantity === 1 ? "piece" : "pieces"}`]];
    for (const [name, text] of texts) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      line.append(part);
    }
    return line;
  });
  at("cart-lines").replaceChildren(...lines);
  for (const shelf of shelves.filter((one) => one.amount)) shelf.amount.textContent = quantityOf(shelf) ? cost(shelf) : "";
  const pieces = chosen.reduce((sum, shelf) => sum + quantityOf(shelf), 0);
  const total = chosen.reduce((sum, shelf) => sum + shelf.price * quantityOf(shelf), 0);
  const text = chosen.length ? money(total, chosen[0].currency, chosen[0].decimals) : "";
  at("cart-empty").hidden = chosen.length > 0;
  at("cart-total").hidden = chosen.length === 0;
  at("to-checkout").hidden = chosen.length === 0;
  if (at("cart-amount").textContent !== text) at("cart-amount").textContent = text;
  at("place-total").textContent = text && ` · ${text}`;
  // The customer agrees to the total on the button. If the order costs something else by then, the shop asks again.
  at("shown-total").value = total;
  at("cart-count").hidden = pieces === 0;
  at("cart-count").textContent = pieces;
  for (const shelf of shelves) shelf.element.classList.toggle("chosen", chosen.includes(shelf));
}

const inCart = () => Object.fromEntries(shelves.filter((shelf) => quantityOf(shelf) > 0).map((shelf) => [shelf.sku, quantityOf(shelf)]));

function changed() {
  remember({ ...missing, ...inCart() });
  showCart();
}

// Only chosen products are sent, whether this script or the browser sends the form.
form.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) {
    if (name.startsWith("quantity-") && ["", "0"].includes(value.trim())) event.formData.delete(name);
  }
});

// ---- Other products: fetches the same page as without a script, and uses only its products and its cart.

async function showOthers(button) {
  const cart = { ...missing, ...inCart() };
  const body = new URLSearchParams(Object.entries(cart).map(([sku, quantity]) => [`quantity-${sku}`, quantity]));
  for (const name of ["q", "shown"]) body.append(name, form.elements.namedItem(name)?.value ?? "");
  body.append(button?.name ?? "update", button?.value ?? "1");
  let page;
  try {
    const answer = await fetch(form.action, { method: "POST", body, signal: within(20) });
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch { /* reported below */ }
  // A page with a notice, or a page that is not ours, does not list the products.
  if (!page?.getElementById("cart-elsewhere") || page.getElementById("notice")) {
    if (at("found")) at("found").textContent = "The products could not be loaded. Please try again.";
    return;
  }
  missing = {};
  for (const id of ["products", "cart-elsewhere"]) at(id).replaceWith(document.adoptNode(page.getElementById(id)));
  readShelves();
  changed();
  if (!button) return;
  at("products").scrollIntoView();
  at("found").focus({ preventScroll: true });
}

// Enter in the search field searches; in any other field it orders. Browsers would always press the form's first button,
// which is the search's.
form.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches("input:not([type=radio])")) return;
  event.preventDefault();
  const search = event.target.closest("[role=search]");
  (search ? search.querySelector("button") : at("place-order")).click();
});

readShelves();
// The page's own cart, prefilled or returned with errors, takes precedence over the stored one.
if (shelves.length && !Object.keys(inCart()).length) {
  for (const [sku, quantity] of Object.entries(remembered()).filter(([, one]) => isQuantity(one))) {
    const shelf = shelves.find((one) => one.sku === sku);
    if (shelf?.input) shelf.input.value = quantity;
    else if (!shelf) missing[sku] = quantity;
  }
}
// A page without the catalogue cannot show the cart and must not change the stored one.
if (shelves.length) changed();
else showCart();
if (Object.keys(missing).length) showOthers();
// The last form sent led back to this page, so it did not become an order.
notSent();

// ---- Errors, shown immediately beside their fields. The server validates again, with the same texts.

function tell(input, text) {
  at(`${input.id}-error`).textContent = text;
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

function wrongQuantity(input) {
  const quantity = Number(input.value || 0);
  return Number.isInteger(quantity) && quantity >= 0 && quantity <= 99 ? "" : "Choose a whole number from 1 to 99.";
}

function wrong(input) {
  const value = input.value.trim();
  if (!value) return input.dataset.missing ?? "";
  if (input.dataset.wrong && !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(value)) return input.dataset.wrong;
  return "";
}

// In the summary, an error in a quantity names the product.
function named(field, text) {
  const shelf = shelves.find((one) => one.input === field);
  return shelf ? `${shelf.name}: ${text}` : text;
}

const fields = [...form.querySelectorAll("#checkout .field input:not([type=radio]), #checkout .field select")];
for (const field of fields) {
  field.addEventListener("blur", () => {
    // No error for a customer who only tabs through an empty field.
    if (field.value || field.getAttribute("aria-invalid")) tell(field, wrong(field));
  });
  field.addEventListener("input", () => field.getAttribute("aria-invalid") && tell(field, wrong(field)));
}

// Shows the same summary as the server.
function showSummary(mistakes) {
  const summary = document.createElement("div");
  summary.className = "notice bad";
  summary.id = "error-summary";
  summary.tabIndex = -1;
  summary.setAttribute("role", "alert");
  const title = document.createElement("h2");
  title.textContent = "Please check your order";
  const list = document.createElement("ul");
  for (const [id, text] of mistakes) {
    const entry = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#${id}`;
    link.textContent = text;
    entry.append(link);
    list.append(entry);
  }
  summary.append(title, list);
  at("messages").replaceChildren(summary);
  summary.focus();
}

// A link to a field focuses it.
at("messages").addEventListener("click", (event) => {
  const target = event.target.closest("a[href^='#']") && at(decodeURIComponent(event.target.hash.slice(1)));
  if (!target) return;
  event.preventDefault();
  target.scrollIntoView({ block: "center" });
  (target.matches("fieldset") ? target.querySelector("input") : target).focus({ preventScroll: true });
});
at("error-summary")?.focus();

// ---- Sending

// Retries. With the waits below they take two or three minutes; then the customer decides.
const TRIES = 7;
// Seconds. The server's Retry-After may exceed the first limit but not the second.
const LONGEST_WAIT = 30;
const LONGEST_ASKED = 120;
const button = at("place-order");
const placing = at("placing");
let sending = false;

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function busy(isBusy) {
  sending = isBusy;
  // aria-disabled, not disabled: a disabled button would lose the keyboard focus.
  if (isBusy) button.setAttribute("aria-disabled", "true");
  else button.removeAttribute("aria-disabled");
  // The form must keep showing the order that was sent, so nothing can be changed until its outcome is known.
  if (isBusy && form.querySelector("section:focus-within")) button.focus();
  for (const part of form.querySelectorAll("section")) part.inert = isBusy;
  form.setAttribute("aria-busy", String(isBusy));
}

function say(kind, title, text) {
  const notice = document.createElement("div");
  notice.className = `notice ${kind}`;
  const heading = document.createElement("strong");
  heading.textContent = title;
  const words = document.createElement("span");
  words.textContent = ` ${text}`;
  notice.append(heading, words);
  placing.replaceChildren(notice);
}

// Lets the browser send the form: the answer is a page with the customer's errors or about ours.
function hand() {
  sent();
  form.submit();
}

const UNREACHABLE = -1;

// Returns the outcome of one attempt: "done", "hand" (the browser must send the form itself), the seconds to wait, or
// UNREACHABLE.
async function attempt(body) {
  let answer;
  try {
    answer = await fetch(form.action, { method: "POST", body, signal: within(20) });
  } catch {
    return UNREACHABLE;
  }
  if (answer.redirected && answer.ok) {
    sent();
    location.assign(answer.url);
    return "done";
  }
  if (answer.status !== 503 && answer.status !== 429 && answer.status !== 409) return "hand";
  return Number(answer.headers.get("Retry-After")) || 1;
}

async function send() {
  const body = new URLSearchParams(new FormData(form));
  for (let number = 0; number <= TRIES; number += 1) {
    const outcome = await attempt(body);
    if (outcome === "done") return;
    if (outcome === "hand") return hand();
    if (number === TRIES) break;
    // Exponential back-off with jitter, so that clients do not retry at the same moment.
    const wait = Math.max(Math.min(LONGEST_ASKED, outcome), Math.min(LONGEST_WAIT, 2 ** number)) * (1 + Math.random() / 4);
    const why = outcome === UNREACHABLE ? "We cannot be reached just now." : "We are very busy just now.";
    say("warn", why, `Your cart is kept. Trying again automatically in ${Math.ceil(wait)} seconds; you do not need to do anything.`);
    await pause(wait);
    say("info", "Trying again…", "However often we try, it will be one order.");
  }
  say("bad", "We could not place your order yet.", "Your cart is kept. Please press the button again in a few minutes: it will still be one order.");
  busy(false);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (sending) return;
  if (event.submitter?.name) {
    showOthers(event.submitter);
    return;
  }
  const mistakes = fields.map((field) => [field, wrong(field)]);
  for (const [field, text] of mistakes) tell(field, text);
  const quantities = shelves.filter((shelf) => shelf.input).map((shelf) => [shelf.input, wrongQuantity(shelf.input)]);
  const found = [...quantities, ...mistakes].filter(([, text]) => text).map(([field, text]) => [field.id, named(field, text)]);
  if (!shelves.some((shelf) => quantityOf(shelf) > 0)) found.unshift(["cart", "Your cart is empty: choose at least one thing."]);
  if (found.length) return showSummary(found);
  at("messages").replaceChildren();
  placing.replaceChildren();
  busy(true);
  send();
});

// When the customer returns from the order's page, a browser may restore this page as it was left.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  placing.replaceChildren();
  busy(false);
});
