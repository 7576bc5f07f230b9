// Toolbar and keyboard shortcuts of the image viewer.
// Name, label, hint, CSS filter. The picture is `slide.reduced[name]` if the server made one, else the
// colour photograph.
const VIEWS = [
  ["colour", "Colour", "Original colours"],
  ["green", "Red-free", "Green channel \u2013 best contrast for haemorrhages and microaneurysms",
    "url(#green)"],
  ["clahe", "CLAHE", "Local contrast enhancement (CLAHE)"],
  ["local", "Flat-field", "Illumination-corrected, contrast-enhanced (what the model sees)"],
];
const LAYOUTS = [
  ["beside", "Side by side", '<rect x="1" y="3" width="6" height="10"/><rect x="9" y="3" width="6" height="10"/>'],
  ["overlay", "Heat map over image", '<rect x="2" y="2" width="12" height="12"/><circle cx="8" cy="8" r="3"/>'],
  ["grid", "All resolutions", '<rect x="1" y="1" width="6" height="6"/><rect x="9" y="1" width="6" height="6"/>'
    + '<rect x="1" y="9" width="6" height="6"/><rect x="9" y="9" width="6" height="6"/>'],
];
const ICONS = {
  adjust: '<circle cx="8" cy="8" r="6"/><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor"/>',
  other: '<circle cx="4.6" cy="8" r="3.6"/><circle cx="11.4" cy="8" r="3.6"/>',
  measuring: '<path d="M2 11L11 2l3 3-9 9z"/><path d="M5 8l1.5 1.5M7.5 5.5L9 7"/>',
  fit: '<path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/>',
  keyboard: '<rect x="1" y="4" width="14" height="8" rx="1"/><path d="M4 7h0M7 7h0M10 7h0M12 7h0M5 10h6" stroke-linecap="round"/>',
  mark: '<path d="M8 14s5-4.6 5-8A5 5 0 0 0 3 6c0 3.4 5 8 5 8z"/><circle cx="8" cy="6" r="1.6"/>',
};
const icon = (paths) => `<svg viewBox="0 0 16 16" aria-hidden="true">${paths}</svg>`;
const OPACITY_STEP = 5;
const DEFAULTS = {
  view: "colour", layout: "beside", scale: "fused", opacity: 100, full: false,
  brightness: 100, contrast: 100,
};
const SCALE_KEYS = ["q", "w", "e", "r"];

// Remembered for the next photograph and the next day. Brightness and contrast are not: a forgotten
// dark screen would hide lesions.
const REMEMBERED = ["view", "layout", "scale", "opacity", "full"];
const STORE = "drcore-stage-2"; // opacity has had another meaning

function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE)) ?? {};
    const right = REMEMBERED.filter((name) => typeof kept[name] === typeof DEFAULTS[name]);
    return { ...DEFAULTS, ...Object.fromEntries(right.map((name) => [name, kept[name]])) };
  } catch { return { ...DEFAULTS }; }
}

function remember(settings) {
  try {
    localStorage.setItem(STORE, JSON.stringify(settings, REMEMBERED));
  } catch { /* private browsing: nothing is remembered */ }
}

function group(label, name, items) {
  const buttons = items.map(([value, text, title, shown]) => `<button type="button"
    data-set="${name}" data-value="${value}" title="${title}" aria-label="${text}"
    aria-pressed="false">${shown ?? text}</button>`);
  return `<div class="group" role="group" aria-label="${label}">${buttons.join("")}</div>`;
}

function slider(label, name, low, high, step) {
  return `<label class="slider"><span>${label}</span><input type="range" data-set="${name}"
    min="${low}" max="${high}" step="${step}" aria-label="${label}"><output></output></label>`;
}

// In the toolbar or, where that is too narrow for it, in the card of adjustments.
function layouts() {
  const items = LAYOUTS.map(([value, text, art]) => [value, text, `${text} (L)`, icon(art)]);
  return `<div class="layouts">${group("Layout", "layout", items)}</div>`;
}

function controlsHtml() {
  return `<svg class="defs" aria-hidden="true"><filter id="green" color-interpolation-filters="sRGB">
    <feColorMatrix values="0 1 0 0 0  0 1 0 0 0  0 1 0 0 0  0 0 0 1 0"/></filter></svg>
    <div class="bar" role="toolbar" aria-label="Image and heat map">
    ${group("View of the image", "view", VIEWS.map(([v, t, hint]) => [v, t, `${hint} (V)`]))}
    <div class="group scales" role="group" aria-label="Heat-map resolution"></div>
    <div class="pair maps"><button type="button" class="toggle" data-do="toggle"
      title="H; hold X to peek beneath">Hide heat map</button>
    ${slider("Heat-map opacity", "opacity", 0, 100, OPACITY_STEP)}</div>
    ${layouts()}
    <div class="group" role="group" aria-label="Tools">
      <button type="button" data-do="adjust" aria-expanded="false" aria-label="Brightness, contrast, fill, layout"
        title="Brightness, contrast, fill, layout">${icon(ICONS.adjust)}</button>
      <button type="button" data-do="fit" aria-label="Fit to window"
        title="Fit to window (Z, or double click)">${icon(ICONS.fit)}</button>
      <button type="button" data-do="actual" aria-pressed="false" aria-label="1:1, one image pixel a screen pixel"
        title="One image pixel per screen pixel (Shift+Z)">1:1</button>
      <button type="button" data-do="other" aria-pressed="false" aria-label="Other eye beside this one"
        title="The patient\u2019s other eye beside this one (Y)">${icon(ICONS.other)}</button>
      <button type="button" data-do="measuring" aria-pressed="false" aria-label="Measure a distance"
        title="Measure in disc diameters and pixels (B)">${icon(ICONS.measuring)}</button>
      <button type="button" data-do="marking" aria-pressed="false" aria-label="Mark a lesion"
        title="Mark a lesion (M)">${icon(ICONS.mark)}</button>
      <button type="button" data-do="help" aria-expanded="false" aria-label="Shortcuts"
        title="Keyboard shortcuts (?)">${icon(ICONS.keyboard)}</button>
    </div></div>
    <div class="cards"><div class="card adjust" hidden>
      ${layouts()}
      ${slider("Brightness", "brightness", 50, 200, 5)}${slider("Contrast", "contrast", 50, 250, 5)}
      <div class="row maps"><button type="button" class="toggle" data-do="full"
        aria-pressed="false" title="K">Full fill of the heat map</button></div>
      <div class="row"><button type="button" class="toggle" data-do="reset">Reset</button></div>
    </div>
    <div class="card help" hidden role="dialog" aria-label="Keyboard shortcuts"></div></div>
    <div class="card marking" hidden role="group" aria-label="Lesion to mark"></div>`;
}

// [keys as shown, what they do, keys as events have them, action]; without action: handled by the page.
function shortcuts(stage) {
  const set = (name, value) => () => stage.set(name, value);
  const scales = stage.scaleNames();
  const sizes = scales.filter((name) => name !== "fused");
  const named = sizes.slice(0, SCALE_KEYS.length)
    .map((name, i) => [SCALE_KEYS[i].toUpperCase(), `Heat map at ${name} px`, [SCALE_KEYS[i]], set("scale", name)]);
  const mapShortcuts = [
    ["H", "Hide or show the heat map", ["h"], () => stage.toggle()],
    ["hold X", "Peek beneath the heat map", [], null],
    ...named,
    ...(scales.includes("fused") ? [["F", "Heat map, combined", ["f"], set("scale", "fused")]] : []),
    ["\u2191 \u2193", "Heat-map opacity up/down", ["arrowup", "arrowdown"],
      (event) => stage.step(event.key === "ArrowUp" ? 1 : -1)],
    ["K", "Full or light fill", ["k"], () => stage.set("full", !stage.settings.full)],
  ];
  return [
    ["Image", [
      ["\u2190 \u2192", "Previous, next image", [], null],
      ["V", "Next view (Shift: previous)", ["v"], (event) => stage.cycle("view", VIEWS, event.shiftKey)],
      ["G", "Toggle red-free", ["g"], () => stage.set("view", stage.settings.view === "green" ? "colour" : "green")],
      ["L", "Next layout", ["l"], (event) => stage.cycle("layout", LAYOUTS, event.shiftKey)],
      ["+ \u2212", "Zoom in, out", ["+", "=", "-"], (event) => stage.zoom(event.key === "-" ? 1 / 1.25 : 1.25)],
      ["Z", "Fit to window (Shift: 1:1)", ["z"], (event) => (event.shiftKey ? stage.actual() : stage.fit())],
      ...(stage.otherEye ? [["Y", "Other eye beside this one", ["y"], () => stage.act("other")]] : []),
      ["B", "Measure a distance", ["b"], () => stage.act("measuring")],
    ]],
    ...(scales.length ? [["Heat map", mapShortcuts]] : []),
    ["Grade", [
      ["A", "Agree with the model", [], null],
      ["0 \u2013 4", "Grade", [], null],
      ["U", "Ungradable", [], null],
      ["D P N \u2026", "Findings: the keys on their buttons", [], null],
      ["S", "Save and next (Shift: save only)", [], null],
      ["J", "Next ungraded image", [], null],
      ["N", "Write a note (Esc: leave it)", [], null],
      ["Ctrl+Z", "Undo the last save", [], null],
    ]],
    ["More", [
      ...(stage.data.marking ? [["M", "Mark lesions, by pointer or arrow keys", ["m"], () => stage.act("marking")]] : []),
      ["?", "Show shortcuts", ["?"], () => stage.act("help")],
      ["Esc", "Close", ["escape"], () => stage.close()],
    ]],
  ];
}

// Shortcuts do not apply while a field has the focus.
function fieldHasFocus(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  const [target] = event.composedPath();
  if (!(target instanceof Element)) return false;
  if (target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName)) return true;
  if (target.closest("[role=listbox], [role=combobox], [role=menu], [role=slider]")) return true;
  if (target.tagName !== "INPUT") return false;
  return !["range", "checkbox", "radio", "button"].includes(target.type)
    || (target.type === "range" && event.key.startsWith("Arrow"));
}

// The last photograph has one save button, and a button has one shortcut: Shift+S saves there too.
function saveOnTheLast() {
  if (!document.querySelector(".st-key-save-stay")) document.querySelector(".st-key-save-next button")?.click();
}
