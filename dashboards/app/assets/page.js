// Theme, focus and copying: what needs no server. Loaded from the package, never from elsewhere.
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  eos: {
    theme: function (clicks, kept) {
      const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      let theme = kept || system;
      if (clicks) theme = theme === "dark" ? "light" : "dark";
      document.documentElement.style.colorScheme = theme;
      return [theme, theme, theme === "dark" ? "Light" : "Dark"];
    },
    // what the reader zoomed to, by axis; a study or a measurement of its own has its own
    zoom: function (moved, kept, where, on) {
      const same = window.dash_clientside.no_update;
      if (!moved || !where) return same;
      const of = where.study + ":" + on;
      const ranges = kept && kept.of === of ? Object.assign({}, kept.ranges) : {};
      let news = false;
      for (const axis of ["xaxis", "yaxis"]) {
        const low = moved[axis + ".range[0]"], high = moved[axis + ".range[1]"];
        if (low !== undefined && high !== undefined) { ranges[axis] = [low, high]; news = true; }
        else if (moved[axis + ".autorange"]) { delete ranges[axis]; news = true; }
      }
      return news ? { of: of, ranges: ranges } : same;
    },
    // after a change of view, Tab goes on from its beginning
    focus: function () {
      if (!window.eosLoaded) { window.eosLoaded = true; return window.dash_clientside.no_update; }
      const main = document.getElementById("content");
      if (main) { main.focus({ preventScroll: true }); window.scrollTo(0, 0); }
      return window.dash_clientside.no_update;
    },
  },
});

document.addEventListener("click", function (event) {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const text = source.textContent;
  const done = function () {
    button.textContent = "Copied";
    document.getElementById("live").textContent = "Copied";
    setTimeout(function () { button.textContent = "Copy"; }, 1500);
  };
  const byHand = function () {  // no clipboard on plain http: select it, and try the old way
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    if (document.execCommand("copy")) done();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, byHand); else byHand();
});

// Dash's slider gives its thumb and its number no name: theirs is that of their field
new MutationObserver(function (changes, watch) {
  const parts = document.querySelectorAll("#front-budget [role=slider], #front-budget input");
  for (const part of parts) part.setAttribute("aria-labelledby", "label-front-budget");
  if (parts.length) watch.disconnect();
}).observe(document.documentElement, { childList: true, subtree: true });
