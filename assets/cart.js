// The cart that a browser remembers: { sku: quantity }. Storage may be full or forbidden; the form works without it.

const CART = "cart";
const SENT = "cart-sent";

export function remembered() {
  try {
    const cart = JSON.parse(localStorage.getItem(CART) ?? "{}");
    return cart && typeof cart === "object" ? cart : {};
  } catch {
    return {};
  }
}

export function remember(cart) {
  try {
    localStorage.setItem(CART, JSON.stringify(cart));
  } catch { /* it is kept in the form all the same */ }
}

// The cart is on its way. It is forgotten only where an order's page shows that it has arrived.
export function sent() {
  try {
    sessionStorage.setItem(SENT, "1");
  } catch { /* then it is still in the cart next time */ }
}

// The shop is shown again, so that was no order yet.
export function notSent() {
  try {
    sessionStorage.removeItem(SENT);
  } catch { /* as above */ }
}

export function arrived() {
  try {
    if (sessionStorage.getItem(SENT) === null) return;
    sessionStorage.removeItem(SENT);
    localStorage.removeItem(CART);
  } catch { /* as above */ }
}
