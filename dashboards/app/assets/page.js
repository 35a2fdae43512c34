// Theme, focus and copying: what needs no server. Loaded from the package, never from elsewhere.
window.dash_clientside = Object.assign({}, window.dash_clientside);
window.dash_clientside.eos = Object.assign({}, window.dash_clientside.eos, {
    theme: function (clicks, kept) {
      const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      let theme = kept || system;
      if (clicks) theme = theme === "dark" ? "light" : "dark";
      document.documentElement.style.colorScheme = theme;
      return [theme, theme, theme === "dark" ? "Light" : "Dark"];
    },
    // a telephone: the figure comes first, and its filters by a tap (the width is that of the styles)
    narrow: function () {
      const narrow = window.matchMedia("(max-width: 820px)").matches;
      return [narrow, !narrow];
    },
    // a point of the front opens its operator; the click is forgotten at once: the same may be clicked again after Back
    open: function (clicked, where) {
      const point = ((clicked || {}).points || []).find(function (one) { return one.id; });
      if (!point || !where) return window.dash_clientside.no_update;
      eosGo(where.study, point.id);
      return null;
    },
    // what the reader zoomed to, by axis; a study or a measurement of its own has its own
    zoom: function (moved, kept, where, on, y, x, z) {
      const same = window.dash_clientside.no_update;
      if (!kept) {  // the page was opened with a part of the figure in its address
        const given = eosZoomOf(new URLSearchParams(window.location.search));
        if (given) return given;
      }
      if (!moved || !where) return same;
      const of = [where.study, on, y || "", x || "", z || ""].join(":");
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
});

// as dcc.Link goes: the address may have been written by state.js, which Dash's own property does not know of
function eosTo(query) {
  window.history.pushState({}, "", "/?" + query);
  window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
}
function eosGo(study, run) {
  eosTo(new URLSearchParams({ study: study, view: "operator", run: run }));
}

// a head of the table goes by the order in the address: the table itself may not have been drawn since the last click
document.addEventListener("click", function (event) {
  const head = event.target.closest && event.target.closest("a[data-sort]");
  if (!head || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const query = new URLSearchParams(window.location.search), name = head.dataset.sort;
  const order = query.get("sort") || "-accuracy";
  query.set("sort", order === "-" + name ? name : "-" + name);
  eosTo(query.toString().replaceAll("%2C", ","));
});

// Plotly tells nothing of clicks in parallel coordinates: the line is found from where its axes stand
function eosLineAt(graph, x, y) {
  const spread = function (dimension) {
    const values = dimension.values, [low, high] = dimension.range || [Math.min(...values), Math.max(...values)];
    return function (line) { return high > low ? (values[line] - low) / (high - low) : 0.5; };
  };
  const axes = [...graph.querySelectorAll(".y-axis")].map(function (axis) {
    const label = axis.querySelector(".axis-title").textContent, box = axis.querySelector(".axis .domain").getBoundingClientRect();
    const dimension = graph.data[0].dimensions.find(function (one) { return one.label === label; });
    return { x: box.x + box.width / 2, top: box.top, height: box.height, share: dimension && spread(dimension) };
  }).filter(function (axis) { return axis.share; }).sort(function (a, b) { return a.x - b.x; });
  const after = axes.findIndex(function (axis) { return axis.x > x; });
  if (after < 1 || axes.some(function (axis) { return Math.abs(axis.x - x) < 14; })) return -1;  // there axes are brushed
  const [from, to] = [axes[after - 1], axes[after]], along = (x - from.x) / (to.x - from.x);
  const place = function (axis, line) { return axis.top + axis.height * (1 - axis.share(line)); };
  let nearest = -1, best = 8;
  for (let line = 0; line < graph.data[0].dimensions[0].values.length; line++) {
    const apart = Math.abs(place(from, line) * (1 - along) + place(to, line) * along - y);
    if (apart < best) { nearest = line; best = apart; }
  }
  return nearest;
}
let eosPressed = null;
document.addEventListener("mousedown", function (event) { eosPressed = [event.clientX, event.clientY]; }, true);
document.addEventListener("mouseup", function (event) {
  const box = event.target.closest && event.target.closest("#health-parallel");
  const graph = box && box.querySelector(".js-plotly-plot");
  if (!graph || !eosPressed || Math.hypot(event.clientX - eosPressed[0], event.clientY - eosPressed[1]) > 3) return;
  const keys = ((graph.layout || {}).meta || {}).keys || [], key = keys[eosLineAt(graph, event.clientX, event.clientY)];
  if (key) eosGo(new URLSearchParams(window.location.search).get("study"), key);
}, true);

// a jump within the page without a new address: Dash would take the hash for a navigation, and undo one right after it
document.addEventListener("click", function (event) {
  const skip = event.target.closest("a.skip");
  const target = skip && document.getElementById(skip.hash.slice(1));
  if (!target) return;
  event.preventDefault();
  if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
  target.focus();
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
