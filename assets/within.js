// Returns a signal that aborts a request after this many seconds. Browsers from before 2022 (Safari 15, Chrome 102,
// Firefox 99) have no AbortSignal.timeout.

export function within(seconds) {
  if (AbortSignal.timeout) return AbortSignal.timeout(seconds * 1000);
  const controller = new AbortController();
  setTimeout(() => controller.abort(), seconds * 1000);
  return controller.signal;
}
