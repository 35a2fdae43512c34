// What is set on the front and the table, in the address. Loaded before use by callbacks of app/kept_state.py.
const EOS_FAMILIES = ["searched", "hand-designed", "unreduced"], EOS_SHOW = ["dominated", "confidence bars"];

function eosList(query, name, otherwise) {
  return query.has(name) ? query.get(name).split(",").filter(Boolean) : otherwise;
}

// zoom=x:-1:0.2,y:80:96 of the study and axes of the same address
function eosZoomOf(query) {
  if (!query.get("zoom")) return null;
  const ranges = {};
  for (const part of query.get("zoom").split(",")) {
    const [axis, low, high] = part.split(":");
    if ((axis === "x" || axis === "y") && isFinite(low) && isFinite(high)) ranges[axis + "axis"] = [Number(low), Number(high)];
  }
  const of = [query.get("study"), query.get("on") || "best", query.get("y") || "", query.get("x") || "", query.get("z") || ""];
  return { of: of.join(":"), ranges: ranges };
}

window.dccFunctions = Object.assign({}, window.dccFunctions, {
  eosRatio: function (exponent) { return exponent >= 0 ? "none" : Number(Math.pow(10, exponent).toPrecision(2)).toString(); },
});

window.dash_clientside = Object.assign({}, window.dash_clientside);
window.dash_clientside.eos = Object.assign({}, window.dash_clientside.eos, {
  // the box holds the ratio, the slider its logarithm; the address at first
  budget: function (ratio, exponent, search) {
    const same = window.dash_clientside.no_update;
    const by = window.dash_clientside.callback_context.triggered.map(function (one) { return one.prop_id; });
    const thumb = function (value) { return value > 0 && value < 1 ? Math.max(-2, Math.log10(value)) : 0; };
    if (by.includes("front-budget.value")) return [same, thumb(ratio)];
    if (by.includes("front-budget-slider.value")) {
      return [exponent >= 0 ? null : Number(Math.pow(10, exponent).toPrecision(2)), same];
    }
    const given = Number(new URLSearchParams(search || "").get("budget"));
    return given > 0 && given < 1 ? [given, thumb(given)] : [same, same];
  },
  // dropdowns are set where their options are found (app/kept_state.py, app/table.py)
  restore: function (search) {
    const query = new URLSearchParams(search || ""), same = window.dash_clientside.no_update;
    const here = { front: ["on", "families", "show"], table: ["find"] };
    const view = eosPlace(search).view;
    const set = function (name, value) { return (here[view] || []).includes(name) && query.has(name) ? value : same; };
    return [
      set("on", query.get("on") === "validation" ? "validation" : "best"),
      set("families", eosList(query, "families", EOS_FAMILIES)),
      set("show", eosList(query, "show", EOS_SHOW)),
      set("find", query.get("find")),
    ];
  },
  keep: function (where, on, families, regimes, designs, budget, show, y, x, z, also, zoom, find, columns, offered) {
    const same = window.dash_clientside.no_update;
    if (!where || !where.study || (where.view !== "front" && where.view !== "table")) return same;
    const now = new URLSearchParams(window.location.search), query = new URLSearchParams();
    if ((now.get("study") || "") !== where.study || (now.get("view") || "front") !== where.view) return same;
    query.set("study", where.study);
    query.set("view", where.view);
    const put = function (name, value, usual) { if (String(value ?? "") !== String(usual ?? "")) query.set(name, value ?? ""); };
    if (where.view === "front") {
      put("on", on, "best");
      put("families", families, EOS_FAMILIES);
      if (offered && offered.length) put("regimes", regimes, offered);
      put("designs", designs, []);
      put("budget", budget);
      put("show", show, EOS_SHOW);
      put("y", y); put("x", x); put("z", z);
      put("also", also, []);
      const of = [where.study, on, y || "", x || "", z || ""].join(":");
      if (zoom && zoom.of === of) {
        const parts = Object.entries(zoom.ranges).map(function (one) {
          return [one[0][0], ...one[1].map(function (end) { return Number(end.toPrecision(6)); })].join(":");
        });
        put("zoom", parts.join(","));
      }
    } else {
      if (now.get("sort")) query.set("sort", now.get("sort"));  // newer than the place, where a head was clicked twice
      put("find", find);
      put("columns", columns, []);
    }
    const address = "?" + query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
    if (address !== window.location.search) window.history.replaceState(window.history.state, "", address);
    return same;
  },
});
