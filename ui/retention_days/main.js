// The days of twelve months as buttons. Python says what each is and means; here they are
// drawn, walked with the arrow keys, and the one that is pressed is told back.
"use strict";
(function () {
  const page = window.parent;
  const months = document.getElementById("months");
  const legend = document.getElementById("legend");
  const SHAPES = {
    check: "M4 12.5l5 5L20 6.5",
    pin: "M12 14v7M7 3h10l-1.5 6 3 5h-13l3-5z",
    minus: "M5 12h14",
    cross: "M6 6l12 12M18 6L6 18",
    alert: "M12 4v10M12 19.5v.1",
    dot: "M12 12v.1",
  };
  let told = "";

  function say(type, data) {
    page.postMessage(Object.assign({ isStreamlitMessage: true, type: type }, data), "*");
  }

  function height() {
    say("streamlit:setFrameHeight", { height: Math.ceil(document.body.getBoundingClientRect().height) + 4 });
  }

  function shape(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", SHAPES[name]);
    svg.appendChild(path);
    return svg;
  }

  function dress(element, look) {
    element.style.setProperty("--fill", look.fill);
    element.style.setProperty("--ink", look.ink);
    element.style.setProperty("--edge", look.edge);
    if (look.border) {
      element.classList.add(look.border);
    }
    if (look.shape) {
      element.appendChild(shape(look.shape));
    }
  }

  function buttons() {
    return Array.from(months.querySelectorAll("button.day"));
  }

  function walk(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };
    const all = buttons();
    const here = all.indexOf(event.target);
    let next = event.key in steps ? here + steps[event.key] : -1;
    if (event.key === "Home") { next = 0; }
    if (event.key === "End") { next = all.length - 1; }
    if (here < 0 || next < 0 || next >= all.length) {
      return;
    }
    event.preventDefault();
    event.target.tabIndex = -1;
    all[next].tabIndex = 0;
    all[next].focus();
  }

  function draw(args) {
    const root = document.documentElement.style;
    Object.keys(args.colours).forEach(function (name) {
      root.setProperty("--" + name, args.colours[name]);
    });
    const focused = document.activeElement && document.activeElement.dataset.day;
    months.textContent = "";
    args.months.forEach(function (month) {
      const block = document.createElement("section");
      block.className = "month" + (month.before ? " before" : "");
      const head = document.createElement("h3");
      head.textContent = month.name;
      const days = document.createElement("div");
      days.className = "days";
      block.append(head, days);
      month.days.forEach(function (day, index) {
        const look = args.looks[day.look];
        const cell = document.createElement(look.quiet ? "span" : "button");
        cell.className = "day" + (day.some ? " some" : "");
        if (index === 0) {
          cell.style.gridColumnStart = month.column;
        }
        cell.title = day.words;
        if (!look.quiet) {
          cell.type = "button";
          cell.dataset.day = day.day;
          cell.tabIndex = -1;
          cell.setAttribute("aria-label", day.words);
          cell.setAttribute("aria-pressed", String(day.day === args.chosen));
        }
        dress(cell, look);
        days.appendChild(cell);
      });
      months.appendChild(block);
    });
    const all = buttons();
    const stop = all.find(function (each) { return each.dataset.day === (focused || args.chosen); })
      || all[all.length - 1];
    if (stop) {
      stop.tabIndex = 0;
      if (focused) { stop.focus({ preventScroll: true }); }
    }
    legend.textContent = "";
    args.legend.forEach(function (entry) {
      const item = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.className = "swatch" + (entry.some ? " some" : "");
      dress(swatch, args.looks[entry.look]);
      item.append(swatch, entry.words);
      legend.appendChild(item);
    });
    height();
  }

  // The page's own letters: a frame does not inherit them.
  function borrowLetters() {
    const own = document.createElement("style");
    Array.from(page.document.styleSheets).forEach(function (sheet) {
      let rules = [];
      try { rules = Array.from(sheet.cssRules); } catch (error) { return; }
      rules.forEach(function (rule) {
        if (rule instanceof page.CSSFontFaceRule && /Source Sans/.test(rule.cssText)) {
          const base = sheet.href || page.document.baseURI;
          own.textContent += rule.cssText.replace(/url\("([^"]+)"\)/g, function (_all, address) {
            return 'url("' + new URL(address, base).href + '")';
          });
        }
      });
    });
    document.head.appendChild(own);
  }

  try { borrowLetters(); } catch (error) { /* the system's letters do as well */ }
  months.addEventListener("keydown", walk);
  months.addEventListener("click", function (event) {
    const cell = event.target.closest("button.day");
    if (cell) {
      say("streamlit:setComponentValue", { value: { day: cell.dataset.day, at: Date.now() }, dataType: "json" });
    }
  });
  window.addEventListener("resize", height);
  window.addEventListener("message", function (event) {
    if (event.source === page && event.data.type === "streamlit:render") {
      const now = JSON.stringify(event.data.args);
      if (now !== told) {
        told = now;
        draw(event.data.args);
      }
      height();
    }
  });
  say("streamlit:componentReady", { apiVersion: 1 });
})();
