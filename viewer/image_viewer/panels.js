// Panels with the photograph and its maps, and the texts around them.
const MAX_ZOOM = 8; // screen pixels for a pixel of the original
const MAP_PIXELS = 700_000; // a map is smooth: more would not be visible
const DECODE_LATER = 250; // ms after the first paint, so that it does not wait for the original
const ASK_AGAIN = 700; // ms, while the server prepares the next photographs
const MARGIN = 0.985; // of the panel that the retina fills at first

const rgb = (tone) => `rgb(${tone.join()})`;

const settings = remembered();
const states = new Map(); // by photograph: zoom, and whether its map is shown
const MAX_STATES = 400;

class Panels {
  constructor(root) {
    this.root = root;
    this.host = root.getRootNode().host ?? root;
    this.settings = settings;
    this.panels = [];
    this.pointers = new Map();
    this.held = false;
    this.frame = 0;
    this.lesion = "";
    this.marking = false;
    this.pending = [];
    this.drag = null;
    this.requested = "";
    const box = root.querySelector(".stage");
    box.innerHTML = `${controlsHtml()}<div class="panels" tabindex="-1"></div>
      <p class="line" role="status"></p><div class="tip" hidden></div>`;
    this.box = box;
    this.area = box.querySelector(".panels");
    this.tip = box.querySelector(".tip");
    this.line = box.querySelector(".line");
    this.resized = new ResizeObserver(() => this.measure());
    this.listen();
  }

  // --- what is on screen --------------------------------------------------------------------

  update({ data, setTriggerValue }) {
    const before = this.data?.slide;
    this.data = data;
    this.trigger = setTriggerValue;
    this.table ??= colourTable(data.table);
    const slide = data.slide;
    if (before?.id !== slide.id) {
      this.pending = [];
      this.drag = null;
      this.tip.hidden = true;
      if (this.ahead) clearTimeout(this.ahead);
      this.ahead = 0;
    } else {
      const there = data.marks.map((mark) => JSON.stringify([mark.kind, mark.lesion, mark.x0, mark.y0]));
      this.pending = this.pending.filter(
        (mark) => !there.includes(JSON.stringify([mark.kind, mark.lesion, mark.x0, mark.y0])));
    }
    if (before && Boolean(before.maps) !== Boolean(slide.maps)) {
      // Another reading mode was chosen: shortcuts apply again.
      document.activeElement?.closest?.(".st-key-study-mode") && document.activeElement.blur();
    }
    if (data.problem) this.pending = [];
    if (!data.marking) this.marking = false;
    keepOnly([slide, ...data.ahead]);
    this.keys = new Map(shortcuts(this).flatMap(([, rows]) => rows).flatMap(
      ([, , names, action]) => names.map((name) => [name, action])));
    this.scaleSwitches();
    this.arrange();
    this.draw();
    if (!this.ahead) this.ahead = setTimeout(() => this.fetchAhead(), DECODE_LATER);
    else this.fetchAhead();
    clearTimeout(this.asking);
    if (data.waiting) this.ask(ASK_AGAIN);
  }

  // Again and again, ever slower: a question may get lost in a page that is being redrawn.
  ask(pause) {
    this.asking = setTimeout(() => {
      this.trigger("ahead", Date.now());
      this.ask(Math.min(2 * pause, 10_000));
    }, pause);
  }

  fetchAhead() {
    const { slide, ahead } = this.data;
    for (const small of Object.values(slide.reduced)) source({ ...small, small: true }, levels);
    source(slide.original, levels, () => this.redraw());
    for (const next of ahead) {
      source({ ...next.reduced.colour, small: true }, levels);
      const view = this.settings.view;
      if (next.reduced[view]) source({ ...next.reduced[view], small: true }, levels);
      source(next.maps, grids);
    }
    if (ahead.length) source(ahead[0].original, levels);
  }

  get look() {
    const { slide } = this.data;
    if (!states.has(slide.id)) {
      states.set(slide.id, { zoom: 1, x: NaN, y: NaN, shown: Boolean(slide.maps && !slide.maps.hidden) });
      for (const id of [...states.keys()].slice(0, -MAX_STATES)) states.delete(id);
    }
    return states.get(slide.id);
  }

  scaleNames() { return this.data.slide.maps ? this.data.slide.maps.scales.map((part) => part.name) : []; }

  get scale() {
    const names = this.scaleNames();
    return names.includes(this.settings.scale) ? this.settings.scale : names.at(-1);
  }

  // The maps that are to be painted now.
  shownScales() {
    const { slide } = this.data;
    if (!slide.maps || !this.look.shown || this.held) return [];
    return this.panels.filter((panel) => panel.scale).map((panel) => panel.scale);
  }

  // --- panels -------------------------------------------------------------------------------

  arrange() {
    const names = this.scaleNames();
    // Of a map that is off by default the image stands alone, as large as it can be.
    const alone = !names.length || (this.data.slide.maps.hidden && !this.look.shown);
    const layout = alone ? "single" : this.settings.layout;
    const wanted = layout === "grid" ? names : layout === "beside" ? ["", this.scale]
      : layout === "overlay" ? [this.scale] : [""];
    while (this.panels.length > wanted.length) {
      const panel = this.panels.pop();
      this.resized.unobserve(panel.node);
      panel.node.remove();
    }
    while (this.panels.length < wanted.length) this.panels.push(this.newPanel());
    this.panels.forEach((panel, i) => { panel.scale = wanted[i]; });
    this.tip.hidden = true; // of a place that another panel may have now
    for (const panel of this.panels) panel.cross.hidden = true;
    this.area.dataset.layout = layout;
    this.area.dataset.count = wanted.length;
    this.label();
    this.measure();
  }

  newPanel() {
    const node = document.createElement("div");
    node.className = "panel";
    node.innerHTML = '<canvas class="photo" role="img"></canvas><canvas class="map" role="img"></canvas>'
      + '<canvas class="outlines" aria-hidden="true"></canvas>'
      + '<svg class="marks" aria-hidden="true"><g></g></svg><i class="cross" hidden></i>'
      + '<span class="label"></span><span class="wait" hidden></span>'
      + '<span class="key" hidden><canvas width="255" height="1"></canvas><span class="ticks"></span>'
      + '<span class="unit">score added per disc area</span><span class="levels"></span></span>';
    const panel = {
      node,
      photo: node.querySelector(".photo"), map: node.querySelector(".map"),
      outlines: node.querySelector(".outlines"), marks: node.querySelector(".marks"), cross: node.querySelector(".cross"),
      label: node.querySelector(".label"), wait: node.querySelector(".wait"),
      key: node.querySelector(".key"), scale: "", painted: "", mapped: "", marked: "",
    };
    const bar = panel.key.querySelector("canvas").getContext("2d");
    const strip = bar.createImageData(255, 1);
    new Uint32Array(strip.data.buffer).set(this.table);
    bar.putImageData(strip, 0, 0);
    panel.key.querySelector(".ticks").append(...this.data.ticks.map(([at, text]) => {
      const tick = Object.assign(document.createElement("i"), { textContent: text });
      tick.style.left = `${100 * at}%`;
      return tick;
    }));
    panel.key.querySelector(".levels").append("outlines ", ...this.data.levels.flatMap((level, i) => {
      const ring = document.createElement("i");
      ring.style.borderColor = rgb(this.data.tones[i + 1]);
      return [ring, `${level} `];
    }));
    this.area.append(node);
    this.resized.observe(node);
    return panel;
  }

  measure() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.area.classList.toggle("tall", this.area.clientHeight > 1.1 * this.area.clientWidth);
    for (const panel of this.panels) {
      panel.width = panel.node.clientWidth;
      panel.height = panel.node.clientHeight;
      panel.ratio = ratio;
    }
    this.redraw();
  }

  label() {
    const { slide } = this.data;
    const { view, opacity, full } = this.settings;
    const [, named, , effect] = VIEWS.find(([name]) => name === view) ?? VIEWS[0];
    const shown = Boolean(slide.maps) && this.look.shown;
    for (const panel of this.panels) {
      const size = panel.scale === "fused" ? "combined" : `${panel.scale} px`;
      panel.label.textContent = !panel.scale ? named
        : !shown ? "Heat map off"
          : `${slide.maps.raw ? "Raw heat map" : "Heat map"} \u00b7 ${size}${full ? " \u00b7 full fill" : ""}`;
      panel.photo.setAttribute("aria-label", `Fundus image ${slide.name}, ${named.toLowerCase()}`);
      const grid = panel.scale && source(slide.maps, grids)?.scales.get(panel.scale);
      panel.map.setAttribute("aria-label", panel.scale
        ? `${slide.maps.raw ? "Raw heat map" : "Heat map"}, ${size}, opacity ${opacity} per cent${grid ? `; ${mapInWords(grid)}` : ""}` : "");
      panel.map.setAttribute("aria-hidden", String(!panel.scale || !shown));
      // One scale of colours for all: one bar is enough.
      panel.key.hidden = panel !== this.panels.at(-1) || !panel.scale || !shown;
      panel.key.querySelector(".levels").hidden = Boolean(slide.maps?.raw);
    }
    for (const button of this.box.querySelectorAll("[data-set][data-value]")) {
      const now = button.dataset.set === "scale" ? this.scale : this.settings[button.dataset.set];
      button.setAttribute("aria-pressed", String(button.dataset.value === now));
    }
    for (const input of this.box.querySelectorAll("input[type=range]")) {
      const value = this.settings[input.dataset.set];
      input.value = value;
      const unit = `${value} %`;
      input.nextElementSibling.textContent = unit;
      input.title = unit;
      input.setAttribute("aria-valuetext", unit);
    }
    const off = !slide.maps;
    for (const node of this.box.querySelectorAll(".maps, .scales, [data-set=layout]")) {
      (node.closest(".group") ?? node).classList.toggle("none", off);
    }
    this.box.querySelector("[data-do=toggle]").textContent = shown ? "Hide heat map" : "Show heat map";
    this.box.querySelector("[data-set=opacity]").disabled = !shown;
    this.box.querySelector("[data-do=full]").setAttribute("aria-pressed", String(full));
    this.box.querySelector("[data-do=marking]").hidden = !this.data.marking;
    this.box.querySelector("[data-do=marking]").setAttribute("aria-pressed", String(this.marking));
    const lit = this.settings.brightness !== 100 || this.settings.contrast !== 100 || full;
    this.box.querySelector("[data-do=adjust]").classList.toggle("on", lit);
    const laser = this.data.marks.some((mark) => mark.lesion === "laser scar")
      ? " Laser scars are marked: the model may take them for disease." : "";
    this.line.classList.toggle("warned", shown && Boolean(slide.maps?.warning));
    this.line.textContent = this.data.problem || this.marking ? this.markingSentence() : !slide.maps ? slide.caption
      : shown ? (slide.maps.warning || slide.maps.words) + laser : (slide.maps.caption || "Heat map off.") + laser;
    this.area.classList.toggle("marking", this.marking);
    const filter = `${effect ?? ""} brightness(${this.settings.brightness / 100}) `
      + `contrast(${this.settings.contrast / 100})`;
    for (const panel of this.panels) {
      panel.photo.style.filter = filter === " brightness(1) contrast(1)" ? "" : filter;
    }
  }

  scaleSwitches() {
    const names = this.scaleNames();
    const holder = this.box.querySelector(".scales");
    if (holder.dataset.names === names.join()) return;
    holder.dataset.names = names.join();
    const sizes = names.filter((name) => name !== "fused");
    holder.replaceChildren(...names.map((name) => {
      const button = document.createElement("button");
      const key = name === "fused" ? "F" : SCALE_KEYS[sizes.indexOf(name)]?.toUpperCase();
      button.type = "button";
      button.textContent = name === "fused" ? "Combined" : name;
      button.setAttribute("aria-label", name === "fused" ? "Combined" : `${name} px`);
      button.title = `${name === "fused" ? "Mean of all resolutions" : "Network resolution"}${key ? ` (${key})` : ""}`;
      Object.assign(button.dataset, { set: "scale", value: name });
      return button;
    }));
  }

  // --- drawing ------------------------------------------------------------------------------

  redraw() { if (!this.frame && this.data) this.frame = requestAnimationFrame(() => this.draw()); }

  // Transform of a panel: screen pixels per pixel of the original, and the place in its middle.
  place(panel) {
    const { field } = this.data.slide;
    const look = this.look;
    const fit = Math.min(panel.width / (field.right - field.left), panel.height / (field.bottom - field.top)) * MARGIN;
    const deepest = Math.max(1, MAX_ZOOM / fit);
    look.zoom = Math.min(Math.max(look.zoom, Math.min(1, 1 / (fit * panel.ratio))), deepest);
    if (Number.isNaN(look.x) || look.zoom === 1) {
      look.x = (field.left + field.right) / 2;
      look.y = (field.top + field.bottom) / 2;
    }
    look.x = Math.min(Math.max(look.x, field.left), field.right);
    look.y = Math.min(Math.max(look.y, field.top), field.bottom);
    return { scale: fit * look.zoom, x: look.x, y: look.y };
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { slide } = this.data;
    const shown = this.shownScales();
    const done = [];
    let photographs = 0;
    for (const panel of this.panels) {
      if (!panel.width || !panel.height) continue;
      const place = this.place(panel);
      if (this.paintPhoto(panel, place)) photographs += 1;
      const visible = shown.includes(panel.scale) && this.paintMap(panel, place);
      panel.map.style.visibility = visible ? "visible" : "hidden";
      panel.outlines.style.visibility = panel.map.style.visibility;
      const fill = this.data.fills[slide.maps?.raw || this.settings.full ? 1 : 0];
      panel.map.style.opacity = (fill * this.settings.opacity) / 100;
      if (visible) done.push(panel.scale);
      this.placeMarks(panel, place);
    }
    const { dataset } = this.host;
    dataset.stage = slide.id;
    dataset.painted = done.join(" ");
    dataset.photograph = photographs === this.panels.length && photographs ? slide.id : "";
    dataset.view = this.settings.view;
    const look = this.look;
    dataset.zoom = look.zoom.toFixed(3);
    dataset.middle = Number.isNaN(look.x) ? "" : `${look.x.toFixed(1)} ${look.y.toFixed(1)}`;
  }

  paintPhoto(panel, place) {
    const { slide } = this.data;
    const { view } = this.settings;
    const base = slide.reduced[view] ? view : "colour";
    const bitmap = bestLevel(slide, base, place.scale * panel.ratio, () => this.redraw());
    const item = slide.reduced[base];
    panel.wait.hidden = Boolean(bitmap);
    if (!bitmap) {
      panel.wait.textContent = failed(item) ? "The image did not load. Reload the page." : "";
      panel.photo.style.visibility = "hidden";
      return false;
    }
    if (wantsLarge(slide, base, place.scale * panel.ratio)) this.requestLarge(base);
    const width = Math.round(panel.width * panel.ratio);
    const height = Math.round(panel.height * panel.ratio);
    // The address, because burned-in text can be masked and shown.
    const state = [item.url, base, bitmap.width, width, height, place.scale, place.x, place.y].join();
    panel.photo.style.visibility = "visible";
    if (panel.painted === state) return true;
    panel.painted = state;
    if (panel.photo.width !== width) panel.photo.width = width;
    if (panel.photo.height !== height) panel.photo.height = height;
    const ink = panel.photo.getContext("2d", { alpha: false });
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.fillRect(0, 0, width, height);
    const scale = place.scale * panel.ratio;
    ink.imageSmoothingQuality = "low"; // the level fits already
    ink.setTransform(scale, 0, 0, scale, width / 2 - place.x * scale, height / 2 - place.y * scale);
    ink.drawImage(bitmap, 0, 0, slide.width, slide.height);
    return true;
  }

  paintMap(panel, place) {
    const { slide } = this.data;
    const maps = source(slide.maps, grids, () => { this.label(); this.redraw(); });
    const grid = maps?.scales.get(panel.scale);
    if (!grid) return false;
    const finest = Math.sqrt(MAP_PIXELS / (panel.width * panel.height));
    const ratio = Math.min(panel.ratio, finest);
    const width = Math.max(1, Math.round(panel.width * ratio));
    const height = Math.max(1, Math.round(panel.height * ratio));
    const state = [slide.id, slide.maps.url, panel.scale, width, height, place.scale, place.x, place.y].join();
    if (panel.mapped === state) return true;
    panel.mapped = state;
    if (panel.map.width !== width) panel.map.width = width;
    if (panel.map.height !== height) panel.map.height = height;
    const ink = panel.map.getContext("2d", { willReadFrequently: true });
    const scale = (place.scale * width) / panel.width;
    const rim = [...maps.scales.values()].map((map) => map.colours).reduce((a, b) => (b.side > a.side ? b : a));
    if (panel.image?.width !== width || panel.image?.height !== height) panel.image = ink.createImageData(width, height);
    paintGrid(panel.image, grid.colours, rim, this.table, {
      x: place.x - width / 2 / scale, y: place.y - height / 2 / scale, step: 1 / scale,
    });
    ink.putImageData(panel.image, 0, 0);
    this.paintOutlines(panel, place, grid);
    return true;
  }

  // Dark on both sides of a light line: seen on every ground.
  paintOutlines(panel, place, grid) {
    const { levels, tones } = this.data;
    const canvas = panel.outlines;
    const width = Math.round(panel.width * panel.ratio);
    const height = Math.round(panel.height * panel.ratio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const ink = canvas.getContext("2d");
    const scale = place.scale * panel.ratio;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, width, height);
    ink.setTransform(scale, 0, 0, scale, width / 2 - place.x * scale, height / 2 - place.y * scale);
    ink.lineJoin = ink.lineCap = "round";
    outlinesOf(grid, levels).forEach((path, i) => {
      for (const [tone, thick] of [[tones[0], 3.4], [tones[i + 1], 1.4]]) {
        ink.strokeStyle = rgb(tone);
        ink.lineWidth = (thick * panel.ratio) / scale;
        ink.stroke(path);
      }
    });
  }

  placeMarks(panel, place) {
    const marks = [...this.data.marks, ...this.pending, ...(this.drag?.mark ? [this.drag.mark] : [])];
    const state = JSON.stringify([marks, place, panel.width, panel.height]);
    if (panel.marked === state) return;
    panel.marked = state;
    const layer = panel.marks.firstElementChild;
    layer.setAttribute("transform", `translate(${panel.width / 2 - place.x * place.scale} `
      + `${panel.height / 2 - place.y * place.scale}) scale(${place.scale})`);
    layer.replaceChildren(...marks.map((mark) => markShape(mark, place.scale)));
  }

  requestLarge(view) {
    const request = `${this.data.slide.id} ${view}`;
    if (this.requested === request) return;
    this.requested = request;
    this.trigger("detail", { id: this.data.slide.id, view });
  }
}
