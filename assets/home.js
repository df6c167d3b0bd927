// The shop's own address is the one that its links, its cookies and its checks go by. Who has opened it by another name is led
// there; where that may lead nowhere, such as from another machine to this one, they are told instead. Only the browser knows
// what it has opened: a proxy may give the server any name.

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
