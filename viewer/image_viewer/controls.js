// The switches above the stage, the list of keys, and what each of them does.
const VIEWS = [
  ["colour", "Colour", "The photograph as it is"],
  ["green", "Red-free", "Green channel: haemorrhages and microaneurysms are darkest in it"],
  ["clahe", "CLAHE", "Contrast raised in each part of the picture"],
  ["local", "Local contrast", "Uneven light taken out; what differs from its surroundings stands out"],
];
const LAYOUTS = [
  ["beside", "Side by side", '<rect x="1" y="3" width="6" height="10"/><rect x="9" y="3" width="6" height="10"/>'],
  ["overlay", "Map over photograph", '<rect x="2" y="2" width="12" height="12"/><circle cx="8" cy="8" r="3"/>'],
  ["grid", "All image sizes", '<rect x="1" y="1" width="6" height="6"/><rect x="9" y="1" width="6" height="6"/>'
    + '<rect x="1" y="9" width="6" height="6"/><rect x="9" y="9" width="6" height="6"/>'],
];
const ICONS = {
  adjust: '<circle cx="8" cy="8" r="6"/><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor"/>',
  fit: '<path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/>',
  mark: '<path d="M8 14s5-4.6 5-8A5 5 0 0 0 3 6c0 3.4 5 8 5 8z"/><circle cx="8" cy="6" r="1.6"/>',
};
const icon = (paths) => `<svg viewBox="0 0 16 16" aria-hidden="true">${paths}</svg>`;
const OPACITY_STEP = 5;
const DEFAULTS = {
  view: "colour", layout: "beside", scale: "fused", opacity: 60, lines: false, level: 3,
  brightness: 100, contrast: 100,
};
const SCALE_KEYS = ["q", "w", "e"];

// Choices that stay for the next photograph and the next day; light is set for one eye, and a
// forgotten dark screen would hide lesions.
const REMEMBERED = ["view", "layout", "scale", "opacity", "lines", "level"];
const STORE = "drcore-stage";

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
  } catch { /* private browsing: the choices last for this visit */ }
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

function controlsHtml() {
  return `<div class="bar" role="toolbar" aria-label="Photograph and map">
    ${group("View of the photograph", "view", VIEWS.map(([v, t, hint]) => [v, t, `${hint} (V)`]))}
    <div class="group scales" role="group" aria-label="Map at image size"></div>
    <div class="pair maps"><button type="button" class="toggle" data-do="toggle"
      title="H; hold X to look underneath">Hide map</button>
    ${slider("Opacity of the map", "opacity", 0, 100, OPACITY_STEP)}</div>
    ${group("Layout", "layout", LAYOUTS.map(([v, t, art]) => [v, t, `${t} (L)`, icon(art)]))}
    <div class="group" role="group" aria-label="Tools">
      <button type="button" data-do="adjust" aria-expanded="false" aria-label="Light and contours"
        title="Brightness, contrast, contours">${icon(ICONS.adjust)}</button>
      <button type="button" data-do="fit" aria-label="Whole photograph"
        title="Whole photograph (Z, or double click)">${icon(ICONS.fit)}</button>
      <button type="button" data-do="marking" aria-pressed="false" aria-label="Mark a lesion"
        title="Mark a lesion (M)">${icon(ICONS.mark)}</button>
      <button type="button" data-do="help" aria-expanded="false"
        title="List of keys (?)">Keys</button>
    </div></div>
    <div class="cards"><div class="card adjust" hidden>
      ${slider("Brightness", "brightness", 50, 200, 5)}${slider("Contrast", "contrast", 50, 250, 5)}
      <div class="row maps"><button type="button" class="toggle" data-do="lines"
        aria-pressed="false" title="K">Contours in place of colours</button></div>
      <div class="maps">${slider("Contours at", "level", 0.5, 12, 0.5)}</div>
      <div class="row"><button type="button" class="toggle" data-do="reset">Reset</button></div>
    </div>
    <div class="card help" hidden role="dialog" aria-label="Keys"></div></div>
    <div class="card marking" hidden role="group" aria-label="Lesion to mark"></div>`;
}

// [keys as shown, what they do, keys as events have them, action]; no action: the page's own keys.
function keyList(stage) {
  const set = (name, value) => () => stage.set(name, value);
  const scales = stage.scaleNames();
  const sizes = scales.filter((name) => name !== "fused");
  const named = sizes.slice(0, SCALE_KEYS.length)
    .map((name, i) => [SCALE_KEYS[i].toUpperCase(), `Map at ${name} px`, [SCALE_KEYS[i]], set("scale", name)]);
  const mapKeys = [
    ["H", "Hide or show the map", ["h"], () => stage.toggle()],
    ["hold X", "Look underneath the map", [], null],
    ...named,
    ...(scales.includes("fused") ? [["F", "Map of all sizes together", ["f"], set("scale", "fused")]] : []),
    ["\u2191 \u2193", "More or less of the map", ["arrowup", "arrowdown"],
      (event) => stage.step(event.key === "ArrowUp" ? 1 : -1)],
    ["K", "Contours or colours", ["k"], () => stage.set("lines", !stage.settings.lines)],
  ];
  return [
    ["Photograph", [
      ["\u2190 \u2192", "Previous, next photograph", [], null],
      ["V", "Next view (Shift: the one before)", ["v"], (event) => stage.turn("view", VIEWS, event.shiftKey)],
      ["G", "Red-free and back", ["g"], () => stage.set("view", stage.settings.view === "green" ? "colour" : "green")],
      ["L", "Next layout", ["l"], (event) => stage.turn("layout", LAYOUTS, event.shiftKey)],
      ["+ \u2212", "Zoom in, out", ["+", "=", "-"], (event) => stage.zoom(event.key === "-" ? 1 / 1.25 : 1.25)],
      ["Z", "Whole photograph", ["z"], () => stage.fit()],
    ]],
    ...(scales.length ? [["Map", mapKeys]] : []),
    ["Decision", [
      ["A", "Agree with the model", [], null],
      ["0 \u2013 4", "Grade", [], null],
      ["U", "Ungradable", [], null],
      ["S", "Save and go on (Shift: and stay)", [], null],
    ]],
    ["More", [
      ...(stage.data.marking ? [["M", "Mark a lesion, or stop", ["m"], () => stage.act("marking")]] : []),
      ["?", "This list", ["?"], () => stage.act("help")],
      ["Esc", "Close", ["escape"], () => stage.close()],
    ]],
  ];
}

// Keys are the page's, except while something is written or chosen in a field.
function occupied(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  const [target] = event.composedPath();
  if (!(target instanceof Element)) return false;
  if (target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName)) return true;
  if (target.closest("[role=listbox], [role=combobox], [role=menu], [role=slider]")) return true;
  if (target.tagName !== "INPUT") return false;
  return !["range", "checkbox", "radio", "button"].includes(target.type)
    || (target.type === "range" && event.key.startsWith("Arrow"));
}

// On the last photograph there is one button that saves, and a button has one key, S: both save here.
function saveOnTheLast() {
  if (!document.querySelector(".st-key-save-stay")) document.querySelector(".st-key-save-next button")?.click();
}
