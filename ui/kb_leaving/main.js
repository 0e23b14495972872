// While something is unsaved, the browser asks before it closes or reloads the page.
// The frame lies on the page's own origin; when it goes, so does its listener.
"use strict";
(function () {
  let unsaved = 0;
  const page = window.parent;

  function ask(event) {
    if (unsaved > 0) {
      event.preventDefault();
      event.returnValue = "";
    }
  }

  function say(type, data) {
    page.postMessage(Object.assign({ isStreamlitMessage: true, type: type }, data), "*");
  }

  window.addEventListener("message", function (event) {
    if (event.source === page && event.data.type === "streamlit:render") {
      unsaved = event.data.args.unsaved || 0;
      say("streamlit:setFrameHeight", { height: 0 });
    }
  });
  page.addEventListener("beforeunload", ask);
  window.addEventListener("pagehide", function () {
    page.removeEventListener("beforeunload", ask);
  });
  say("streamlit:componentReady", { apiVersion: 1 });
})();
