// The image viewer: panels, and every interaction with them, without waiting for the server.
const stages = new WeakMap();

class Stage extends Tools {
  set(name, value) {
    this.settings[name] = value;
    if (REMEMBERED.includes(name)) remember(this.settings);
    if (name === "scale" || name === "layout") this.arrange();
    else this.label();
    this.draw();
    if (name === "view") this.fetchAhead();
  }

  cycle(name, choices, back) {
    if (name === "layout" && !this.scaleNames().length) return;
    const names = choices.map(([value]) => value);
    this.set(name, names[(names.indexOf(this.settings[name]) + (back ? names.length - 1 : 1)) % names.length]);
  }

  toggle() {
    if (!this.data.slide.maps) return;
    this.look.shown = !this.look.shown;
    if (this.data.slide.maps.hidden) this.arrange();
    else this.label();
    this.draw();
  }

  step(by) {
    if (!this.look.shown) return;
    this.set("opacity", Math.min(Math.max(this.settings.opacity + by * OPACITY_STEP, 0), 100));
  }

  hold(held) {
    if (this.held === held) return;
    this.held = held;
    this.draw();
  }

  zoom(by, at) {
    const [panel] = this.panels;
    if (!panel?.width) return;
    const before = this.place(panel);
    const dx = at ? at.x - panel.width / 2 : 0;
    const dy = at ? at.y - panel.height / 2 : 0;
    const look = this.look;
    look.zoom *= by;
    const after = this.place(panel);
    look.x = before.x + dx / before.scale - dx / after.scale;
    look.y = before.y + dy / before.scale - dy / after.scale;
    this.redraw();
  }

  fit() { this.look.zoom = 1; this.redraw(); }

  act(what) {
    const { settings: now } = this;
    if (what === "toggle") this.toggle();
    else if (what === "fit") this.fit();
    else if (what === "actual") this.actual();
    else if (what === "other") this.toggleOther();
    else if (what === "measuring") this.toggleMeasuring();
    else if (what === "full") this.set("full", !now.full);
    else if (what === "reset") {
      Object.assign(now, { brightness: 100, contrast: 100, full: false });
      this.set("opacity", DEFAULTS.opacity);
    } else if (what === "marking") {
      this.marking = !this.marking && Boolean(this.data.marking);
      this.measuring = false;
      this.open("marking", this.marking);
      this.begin(this.marking);
    } else this.open(what, this.box.querySelector(`.card.${what}`).hidden);
  }

  open(name, wanted) {
    for (const card of this.box.querySelectorAll(".card")) {
      const opened = card.classList.contains(name) ? wanted : card.classList.contains("marking") && this.marking;
      if (opened && card.hidden) this.fill(card, name);
      card.hidden = !opened;
    }
    for (const button of this.box.querySelectorAll("[aria-expanded]")) {
      button.setAttribute("aria-expanded", String(button.dataset.do === name && wanted));
    }
  }

  close() {
    if (this.drag) this.drag = null;
    else if (this.box.querySelector(".card.help:not([hidden]), .card.adjust:not([hidden])")) this.open("", false);
    else if (this.marking) this.act("marking");
    else if (this.measuring) this.act("measuring");
    this.redraw();
  }

  fill(card, name) {
    if (name === "help") {
      card.replaceChildren(...shortcuts(this).map(([title, rows]) => {
        const part = document.createElement("section");
        const list = document.createElement("dl");
        for (const [keys, text] of rows) {
          const key = document.createElement("dt");
          const what = document.createElement("dd");
          key.textContent = keys;
          what.textContent = text;
          list.append(key, what);
        }
        part.append(Object.assign(document.createElement("h2"), { textContent: title }), list);
        return part;
      }));
    } else if (name === "marking") {
      this.lesion ||= this.data.lesions[0];
      card.replaceChildren(...this.data.lesions.map((lesion) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = lesion;
        button.setAttribute("aria-pressed", String(lesion === this.lesion));
        button.onclick = () => {
          this.lesion = lesion;
          this.fill(card, name);
        };
        return button;
      }));
    }
  }

  markingSentence() {
    if (this.data.problem) return this.data.problem;
    return "Click to place a point, drag to draw a box. Click your own mark to remove it. Esc to finish.";
  }

  // The panel under the pointer, and the place on the original.
  at(event) {
    const panel = this.panels.find(({ node }) => node.contains(event.composedPath()[0]));
    if (!panel) return null;
    const frame = panel.node.getBoundingClientRect();
    const x = event.clientX - frame.left;
    const y = event.clientY - frame.top;
    const place = this.place(panel);
    return {
      panel, x, y, scale: place.scale,
      on: { x: place.x + (x - panel.width / 2) / place.scale, y: place.y + (y - panel.height / 2) / place.scale },
    };
  }

  onPhotograph({ x, y }) {
    const { width, height } = this.data.slide;
    return { x: Math.min(Math.max(x, 0), width), y: Math.min(Math.max(y, 0), height) };
  }

  ownMarkAt({ on, scale }) {
    const near = 10 / scale;
    return this.data.marks.find((mark) => mark.mine && mark.x0 - near <= on.x && on.x <= mark.x1 + near
      && mark.y0 - near <= on.y && on.y <= mark.y1 + near);
  }

  listen() {
    this.box.addEventListener("click", (event) => {
      const button = event.composedPath()[0].closest?.("button");
      if (!button) return;
      if (button.dataset.set) this.set(button.dataset.set, button.dataset.value);
      else if (button.dataset.do) this.act(button.dataset.do);
    });
    this.box.addEventListener("input", (event) => {
      const { set } = event.target.dataset;
      if (set) this.set(set, Number(event.target.value));
    });
    // After a drag the focus returns to the page; by keyboard a slider keeps it.
    this.box.addEventListener("pointerup", (event) => {
      if (event.target.type === "range") event.target.blur();
    });
    this.box.addEventListener("keydown", (event) => {
      const own = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
      if (event.target.type === "range" && own.includes(event.key)) event.stopPropagation();
    });

    const { area } = this;
    area.addEventListener("wheel", (event) => {
      event.preventDefault();
      const at = this.at(event);
      if (at) this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), at);
    }, { passive: false });
    area.addEventListener("dblclick", () => { if (!this.marking && !this.measuring) this.fit(); });
    area.addEventListener("pointerdown", (event) => {
      const at = this.at(event);
      if (!at || event.button > 0) return;
      area.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (this.measuring && this.pointers.size === 1) {
        Object.assign(this, { anchor: this.onPhotograph(at.on), end: null, cursor: null, ruling: true, fixed: true });
        return;
      }
      if (!this.marking || this.pointers.size > 1) { this.drag = null; return; }
      this.drag = { at, from: this.onPhotograph(at.on), mark: null };
    });
    area.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      area.addEventListener(end, (event) => this.drop(event, end === "pointerup"));
    }
    area.addEventListener("pointerleave", () => this.point(null));

    this.handlers = [
      [document, "keydown", (event) => this.keydown(event)],
      [document, "keyup", (event) => { if (event.key.toLowerCase() === "x") this.hold(false); }],
      [window, "blur", () => this.hold(false)],
      [window, "resize", () => this.measure()],
      [document, "click", (event) => { if (toAnotherPage(event)) clearTimeout(this.asking); }],
      [document, "pointerdown", (event) => {
        if (!event.composedPath().includes(this.box)) this.open("", false);
      }],
    ];
  }

  attach() {
    for (const [target, name, handler] of this.handlers) target.addEventListener(name, handler);
  }

  detach() {
    for (const [target, name, handler] of this.handlers) target.removeEventListener(name, handler);
    clearTimeout(this.asking);
  }

  keydown(event) {
    if (fieldHasFocus(event)) return;
    const key = event.key.toLowerCase();
    if (key === "x") { this.hold(true); return; }
    if (key === "s" && event.shiftKey && !event.repeat) saveOnTheLast();
    const action = this.keys?.get(key);
    if (!action || (event.repeat && !["arrowup", "arrowdown", "+", "=", "-"].includes(key))) return;
    if (key.startsWith("arrow") && !this.look.shown) return;
    event.preventDefault();
    action(event);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) { this.point(event); return; }
    const now = { x: event.clientX, y: event.clientY };
    if (this.ruling) {
      const panel = this.panelAt(now);
      this.end = this.onPhotograph(this.fromPanel(panel, event));
      this.label();
      this.redraw();
      return;
    }
    if (this.drag) {
      const to = this.at(event) ?? this.drag.at;
      const mark = markFrom(this.drag.from, this.onPhotograph(this.fromPanel(this.drag.at.panel, event)), to.scale, this.lesion);
      this.drag.mark = { ...mark, number: null, mine: true };
      this.redraw();
      return;
    }
    const [panel] = this.panels;
    const place = this.place(panel);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (others.length) {
      const span = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
      const frame = this.panelAt(others[0]).node.getBoundingClientRect();
      const middle = { x: (now.x + others[0].x) / 2 - frame.left, y: (now.y + others[0].y) / 2 - frame.top };
      this.zoom(span(now, others[0]) / Math.max(span(before, others[0]), 1), middle);
    }
    const look = this.look;
    const part = 1 / (others.length + 1);
    look.x -= ((now.x - before.x) * part) / place.scale;
    look.y -= ((now.y - before.y) * part) / place.scale;
    this.pointers.set(event.pointerId, now);
    this.redraw();
  }

  panelAt({ x, y }) {
    return this.panels.find(({ node }) => {
      const frame = node.getBoundingClientRect();
      return x >= frame.left && x <= frame.right && y >= frame.top && y <= frame.bottom;
    }) ?? this.panels[0];
  }

  fromPanel(panel, event) {
    const frame = panel.node.getBoundingClientRect();
    const place = this.place(panel);
    return {
      x: place.x + (event.clientX - frame.left - panel.width / 2) / place.scale,
      y: place.y + (event.clientY - frame.top - panel.height / 2) / place.scale,
    };
  }

  drop(event, meant) {
    this.pointers.delete(event.pointerId);
    this.ruling = false;
    const { drag } = this;
    this.drag = null;
    if (!drag || !meant) { this.redraw(); return; }
    const own = !drag.mark || drag.mark.kind === "point" ? this.ownMarkAt(drag.at) : null;
    if (own) this.trigger("unmark", { id: this.data.slide.id, number: own.number });
    else {
      const to = this.onPhotograph(this.fromPanel(drag.at.panel, event));
      const mark = markFrom(drag.from, to, drag.at.scale, this.lesion);
      this.pending.push({ ...mark, number: null, mine: true });
      this.trigger("mark", { id: this.data.slide.id, ...mark });
    }
    this.redraw();
  }

  // What the region under the pointer adds to the score, and the same place in the other panels.
  point(event) {
    const at = event && this.at(event);
    const { maps } = this.data.slide;
    const shown = at && (at.panel.scale || this.scale);
    const grid = at && this.look.shown && source(maps, grids)?.scales.get(shown);
    for (const panel of this.panels) {
      panel.cross.hidden = !at || panel === at.panel || this.panels.length < 2;
      if (!panel.cross.hidden) panel.cross.style.transform = `translate(${at.x}px, ${at.y}px)`;
    }
    const region = grid ? regionAt(grid, at.on.x, at.on.y) : undefined;
    this.tip.hidden = !region || this.marking;
    if (this.tip.hidden) return;
    const { adds, share } = region;
    const discs = region.disc_areas;
    this.tip.replaceChildren(
      `This region (${discs.toFixed(discs < 0.1 ? 2 : 1)} disc areas) adds `,
      Object.assign(document.createElement("b"), { textContent: adds.toFixed(2) }),
      ` to the score of ${grid.score.toFixed(2)}${shown === "fused" ? "" : ` at ${shown} px`},`,
      document.createElement("br"), `${percent(share)} of all that raises it`,
    );
    const frame = this.box.getBoundingClientRect();
    const left = Math.min(event.clientX - frame.left + 14, frame.width - this.tip.offsetWidth - 4);
    const above = event.clientY - frame.top + 18 + this.tip.offsetHeight > frame.height;
    const top = event.clientY - frame.top + (above ? -this.tip.offsetHeight - 10 : 18);
    this.tip.style.transform = `translate(${Math.max(left, 2)}px, ${Math.max(top, 2)}px)`;
  }
}

export default function (component) {
  const root = component.parentElement;
  if (!stages.has(root)) stages.set(root, new Stage(root));
  const stage = stages.get(root);
  return singleRun(() => {
    stage.attach();
    stage.update(component);
    return () => stage.detach();
  });
}
