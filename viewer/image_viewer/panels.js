// Panels with the photograph and its maps, and the texts around them.
const DECODE_LATER = 250; // ms after the first paint, so that it does not wait for the original
const ASK_AGAIN = 700; // ms, while the server prepares the next photographs

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
}
