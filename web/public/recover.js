// A page whose script or style is gone: the page came from one build, the file was asked of a node with another, in the
// middle of an update. The file is asked for again, past all caches; then the page is loaded anew, once.
(function () {
  var KEY = "realtime.recovered";
  var AGAIN_MS = 30000;
  var PAUSES_MS = [200, 500, 1000, 2000, 4000];
  var busy = false;

  function once() {
    try {
      var last = Number(sessionStorage.getItem(KEY) || 0);
      if (Date.now() - last < AGAIN_MS) return false;
      sessionStorage.setItem(KEY, String(Date.now()));
      return true;
    } catch (error) {
      return false; // without storage it could go on for ever
    }
  }

  function tell() {
    var place = document.getElementById("app");
    if (!place || place.firstChild) return;
    var line = document.createElement("p");
    line.setAttribute("role", "alert");
    line.textContent = "This page could not be loaded: the server is being updated. Load it again in a moment.";
    place.appendChild(line);
  }

  function ask(url, attempt) {
    fetch(url, { cache: "reload" }).then(
      function (answer) {
        if (answer.ok) reload();
        else later(url, attempt);
      },
      function () {
        later(url, attempt);
      },
    );
  }

  function later(url, attempt) {
    // 404 on every node: the build is gone, and a fresh page names files that are there.
    if (attempt >= PAUSES_MS.length) reload();
    else setTimeout(ask, PAUSES_MS[attempt], url, attempt + 1);
  }

  function reload() {
    if (once()) location.reload();
    else tell();
  }

  addEventListener(
    "error",
    function (event) {
      var element = event.target;
      var url = element && (element.src || (element.rel === "stylesheet" && element.href));
      if (!url || busy || url.indexOf("/assets/") < 0) return;
      busy = true;
      ask(url, 0);
    },
    true,
  );
})();
