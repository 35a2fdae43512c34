// What Dash's controls are to screen readers and to the Tab key, where its own markup contradicts itself (Dash 4.4):
// boxes to tick within options of a list, a hidden field that takes the focus, buttons named by a part of what they say.
function eosSet(part, name, value) {
  if (value === null ? part.hasAttribute(name) : part.getAttribute(name) !== value) {
    if (value === null) part.removeAttribute(name); else part.setAttribute(name, value);
  }
}

function eosNames() {
  for (const list of document.querySelectorAll(".dash-options-list[role]")) {
    const field = list.closest("[role=group][aria-labelledby]");
    if (!field || list.closest(".dash-dropdown-content")) continue;  // in an open dropdown it is a list of options
    eosSet(list, "role", list.querySelector("input[type=radio]") ? "radiogroup" : "group");
    eosSet(list, "aria-labelledby", field.getAttribute("aria-labelledby"));
    for (const option of list.querySelectorAll("label[role=option]")) {
      eosSet(option, "role", null);
      eosSet(option, "aria-selected", null);
    }
  }
  for (const hidden of document.querySelectorAll(".dash-dropdown-focus-target")) eosSet(hidden, "tabindex", "-1");
  for (const button of document.querySelectorAll("button.dash-dropdown")) {
    eosSet(button, "tabindex", "0");
    eosSet(button, "aria-labelledby", null);  // its own words are its name, that of its field is around it
  }
  for (const thumb of document.querySelectorAll("#front-budget-slider [role=slider]")) {
    eosSet(thumb, "aria-labelledby", "label-front-budget-control");
  }
}

new MutationObserver(eosNames).observe(document.documentElement, {
  childList: true, subtree: true, attributes: true, attributeFilter: ["role", "tabindex", "aria-labelledby"],
});
