// The shop's links, cookies and checks depend on its own address. A visitor who opened it at another address is
// redirected there. If that address may not be reachable, such as this machine's loopback address from another machine,
// a notice is shown instead. Only the browser knows the address that it opened: a proxy may pass any name to the
// server.

const notice = document.getElementById("home");

function isThisMachine(host) {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(host);
}

if (notice?.dataset.home && location.origin !== notice.dataset.home) {
  const home = new URL(notice.dataset.home);
  const isSamePlace = home.protocol === location.protocol && home.port === location.port;
  if (isSamePlace && isThisMachine(home.hostname) === isThisMachine(location.hostname)) {
    location.replace(home.origin + location.pathname + location.search + location.hash);
  } else {
    notice.hidden = false;
  }
}
