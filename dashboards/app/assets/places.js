// Which views a new address or a change of the study concerns: the others' callbacks are not asked.
window.dash_clientside = Object.assign({}, window.dash_clientside);
window.dash_clientside.eos = Object.assign({}, window.dash_clientside.eos, {
  study: function (where, held) {
    return where && where.study !== held ? where.study : window.dash_clientside.no_update;
  },
  // the front's table goes while another view is shown: Dash asks every cell of a page after every change of anything
  leave: function (where) {
    return where && where.view !== "front" ? null : window.dash_clientside.no_update;
  },
  // the place for the view that is shown; null for one that was left and is costly to keep; and the view to be put in
  // place, as it is visited for the first time
  places: function (where, version, ...held) {
    const same = window.dash_clientside.no_update;
    const views = ["studies", "front", "operator", "compare", "health", "table"], later = ["operator", "compare", "health"];
    const keeps = ["studies", "front", "health"];  // drawn as they were, and up to date again when the reader is back
    // until the store was asked about this study; its answer comes as another version
    if (!where || !version || !version.startsWith(where.study + ":")) return [...views.map(function () { return same; }), same];
    const moved = window.dash_clientside.callback_context.triggered.some(function (one) { return one.prop_id === "where.data"; });
    const told = views.map(function (view, k) {
      if (view !== where.view) return held[k] && !keeps.includes(view) ? null : same;
      const follows = view !== "operator" && view !== "compare";  // these two stay as they are while a study runs
      return moved || follows || JSON.stringify(held[k]) !== JSON.stringify(where) ? where : same;
    });
    const place = later.indexOf(where.view);
    return [...told, place >= 0 && held[views.length + place] === "view" ? where.view : same];
  },
});
