// Where the reader is, and which views a new address or a change of the study concerns: the others' callbacks are not
// asked. All of it without the server, but for the first visit of a study: a click waits for one answer, not for three.
const EOS_VIEWS = { front: "Front", operator: "Operator", compare: "Compare", health: "Health", table: "Table" };
const EOS_MOST = 6;  // operators beside each other, as in app/address.py

// ?study=..&view=..&run=..&with=a,b as study, view, run, with (a list), sort
function eosPlace(search) {
  const query = new URLSearchParams(search || ""), study = query.get("study") || "", view = query.get("view") || "front";
  return {
    study: study,
    view: !study ? "studies" : Object.hasOwn(EOS_VIEWS, view) ? view : "front",
    run: query.get("run") || "",
    with: (query.get("with") || "").split(",").filter(Boolean).slice(0, EOS_MOST),
    sort: query.get("sort") || "",
  };
}

// the address of a view, as app/address.py makes it
function eosLink(where, view) {
  const query = new URLSearchParams({ study: where.study, view: view });
  if (where.run) query.set("run", where.run);
  if (view === "table" && where.sort) query.set("sort", where.sort);
  if (where.with.length) query.set("with", where.with.join(","));
  return "/?" + query.toString();
}

function eosPart(namespace, type, props) { return { namespace: namespace, type: type, props: props }; }

window.dash_clientside = Object.assign({}, window.dash_clientside);
window.dash_clientside.eos = Object.assign({}, window.dash_clientside.eos, {
  // the place of the address, once the server has told whether there is such a study
  go: function (search, known, held) {
    const same = window.dash_clientside.no_update, place = eosPlace(search);
    if (!place.study) return [place, same];
    if (!known || known.study !== place.study) return [same, place.study];
    return [known.there ? place : Object.assign(place, { study: "", view: "studies" }), same];
  },
  show: function (where, known) {
    const same = window.dash_clientside.no_update;
    if (!where) return [same, same, same];
    const html = "dash_html_components", asked = eosPlace(window.location.search).study;
    if (!where.study) {
      const lost = known && !known.there && known.study === asked && asked;
      const words = "there is no study '" + asked + "'";
      return ["show-studies", "Studies", lost ? [eosPart(html, "Span", { children: words, className: "warning" })] : []];
    }
    const links = Object.keys(EOS_VIEWS).filter(function (view) { return view !== "operator" || where.run; });
    return ["show-" + where.view, where.study, links.map(function (view) {
      const inner = eosPart("dash_core_components", "Link", { children: EOS_VIEWS[view], href: eosLink(where, view) });
      // a link knows no aria-current: the mark is on what holds it
      const here = view === where.view ? { className: "here", "aria-current": "page" } : { className: "" };
      return eosPart(html, "Span", Object.assign({ children: inner, key: view }, here));
    })];
  },
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
  // the page that is visited for the first time
  put: function (first, later) {
    const same = window.dash_clientside.no_update;
    return ["operator", "compare", "health"].flatMap(function (view) {
      return view === first ? [later[view], "view there"] : [same, same];
    });
  },
});
