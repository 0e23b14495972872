// Streamlit sends a text when one leaves its field. Here it is sent a moment after the last
// key as well, by the keys (Ctrl+Enter) that Streamlit listens to, so that the server has what
// was typed; and the browser asks before it closes a page of which the server lacks something.
// The frame lies on the page's own origin; when it goes, so do its listeners.
"use strict";
(function () {
  const PAUSE = 900; // after the last key
  const LONGEST = 4000; // for somebody who types without a pause
  const HELD = 2500; // while the page is drawn anew around the field
  const UNDERWAY = 3000; // what was sent so long ago has arrived, or never will
  const FIELDS = '[class*="st-key-kb_cell_"], [class*="st-key-kb_key_"]';
  const page = window.parent;
  const doc = page.document;
  const waiting = new Map(); // field -> {timer, since}
  let unkept = 0;
  let run = 0;
  let sentIn = -1; // the run of the page when something was sent last; a dialog has none
  let sentAt = 0;
  let composing = false;

  function say(type, data) {
    page.postMessage(Object.assign({ isStreamlitMessage: true, type: type }, data), "*");
  }

  function isOurs(field) {
    return /^(TEXTAREA|INPUT)$/.test(field.tagName) && field.closest(FIELDS) !== null;
  }

  function typed(event) {
    const field = event.target;
    if (!event.isTrusted || !isOurs(field)) {
      return;
    }
    const known = waiting.get(field);
    const since = known ? known.since : Date.now();
    if (known) {
      clearTimeout(known.timer);
    }
    const wait = Math.max(0, Math.min(PAUSE, since + LONGEST - Date.now()));
    waiting.set(field, { since: since, timer: setTimeout(send, wait, field) });
  }

  function send(field) {
    if (composing) { // a letter that is put together of several keys
      waiting.get(field).timer = setTimeout(send, PAUSE, field);
      return;
    }
    waiting.delete(field);
    if (!field.isConnected) {
      return;
    }
    sent();
    hold(field);
    field.dispatchEvent(new page.KeyboardEvent("keydown", {
      key: "Enter", code: "Enter", keyCode: 13, ctrlKey: true, bubbles: true, cancelable: true,
    }));
  }

  function sent() {
    sentIn = run;
    sentAt = Date.now();
  }

  function flush() {
    for (const [field, known] of Array.from(waiting)) {
      clearTimeout(known.timer);
      composing = false;
      send(field);
    }
  }

  function left(event) { // Streamlit sends it now by itself
    const known = waiting.get(event.target);
    if (known) {
      clearTimeout(known.timer);
      waiting.delete(event.target);
      sent();
    }
  }

  function scroller(field) {
    for (let box = field.parentElement; box; box = box.parentElement) {
      if (/auto|scroll/.test(page.getComputedStyle(box).overflowY)) {
        return box;
      }
    }
    return doc.scrollingElement;
  }

  // What appears above the field (a bar, a note) must not push it away under one's eyes.
  function hold(field) {
    const box = scroller(field);
    const until = Date.now() + HELD;
    const top = field.getBoundingClientRect().top;
    let moved = false;
    const stop = function () { moved = true; };
    const signs = ["wheel", "touchmove", "pointerdown"];
    signs.forEach(function (name) { doc.addEventListener(name, stop, { passive: true }); });
    (function look() {
      if (moved || Date.now() > until || doc.activeElement !== field) {
        signs.forEach(function (name) { doc.removeEventListener(name, stop); });
        return;
      }
      const by = field.getBoundingClientRect().top - top;
      if (Math.abs(by) > 1) {
        box.scrollTop += by;
      }
      page.requestAnimationFrame(look);
    })();
  }

  function ask(event) {
    flush();
    const underway = sentIn >= run && Date.now() - sentAt < UNDERWAY;
    if (unkept > 0 || underway) {
      event.preventDefault();
      event.returnValue = "";
    }
  }

  function hidden() {
    if (doc.visibilityState === "hidden") {
      flush();
    }
  }

  function starts() { composing = true; }
  function ends() { composing = false; }

  const heard = [
    ["input", typed], ["focusout", left], ["compositionstart", starts],
    ["compositionend", ends], ["visibilitychange", hidden],
  ];
  heard.forEach(function (pair) { doc.addEventListener(pair[0], pair[1], true); });
  page.addEventListener("beforeunload", ask);
  window.addEventListener("pagehide", function () {
    heard.forEach(function (pair) { doc.removeEventListener(pair[0], pair[1], true); });
    page.removeEventListener("beforeunload", ask);
  });
  window.addEventListener("message", function (event) {
    if (event.source === page && event.data.type === "streamlit:render") {
      unkept = event.data.args.unkept || 0;
      run = event.data.args.run || 0;
      say("streamlit:setFrameHeight", { height: 0 });
    }
  });
  say("streamlit:componentReady", { apiVersion: 1 });
})();
