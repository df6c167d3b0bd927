// The cart in the browser's storage: { sku: quantity }. Storage may be full or blocked; the form works without it.

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
  } catch { /* the form still has it */ }
}

// Marks the cart as sent. It is removed only once an order's page shows that the order has arrived.
export function sent() {
  try {
    sessionStorage.setItem(SENT, "1");
  } catch { /* then the cart keeps its content */ }
}

// Clears that mark: the shop is shown again, so no order was placed.
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
