// Calliper, keyboard cursor, the patient's other eye, 1:1, and how panels share the stage.
const CURSOR_STEP = 0.01; // of the width of the field; five times as much with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let otherEyeWanted = false; // stays for the next photograph

class Tools extends Drawing {
  constructor(root) {
    super(root);
    this.measuring = false;
    this.cursor = null; // where marks are made by keyboard, on the original
    this.anchor = null; // first corner of a box, or first end of the calliper
    this.end = null; // second end of the calliper
    this.area.tabIndex = 0;
    this.area.setAttribute("role", "group");
    this.area.setAttribute("aria-label", "Image. M marks lesions, B measures, both by arrow keys");
    this.area.addEventListener("keydown", (event) => this.cursorKey(event));
    this.peek = Object.assign(document.createElement("button"), {
      type: "button", className: "peek", textContent: "Hold to peek",
    });
    this.peek.onpointerdown = (event) => {
      event.stopPropagation();
      this.peek.setPointerCapture(event.pointerId);
      this.hold(true);
    };
    this.peek.onpointerup = this.peek.onlostpointercapture = () => this.hold(false);
    this.peek.oncontextmenu = (event) => event.preventDefault();
    this.box.append(this.peek);
  }

  update(component) {
    if (this.data?.slide.id !== component.data.slide.id) this.cursor = this.anchor = this.end = null;
    super.update(component);
  }

  // --- panels -------------------------------------------------------------------------------

  get otherEye() { return this.data.ahead.find((slide) => slide.id === this.data.other_eye); }

  arrange() {
    super.arrange();
    const beside = this.area.querySelector(".panel.other");
    if (otherEyeWanted && this.otherEye && !beside) this.area.append(otherPanel());
    else if (beside && !(otherEyeWanted && this.otherEye)) beside.remove();
    else if (beside) this.area.append(beside); // stays the last one
    this.measure();
  }

  // As many columns as make the photographs largest.
  measure() {
    const { clientWidth: width, clientHeight: height, children } = this.area;
    const counts = [...children].map((_, i) => i + 1);
    const side = (columns) => Math.min(width / columns, height / Math.ceil(children.length / columns));
    const best = counts.reduce((a, b) => (side(b) > side(a) ? b : a), 1);
    this.area.style.gridTemplateColumns = `repeat(${best}, minmax(0, 1fr))`;
    this.peek.style.bottom = `${this.box.clientHeight - this.area.offsetTop - height + 8}px`;
    super.measure();
  }

  label() {
    super.label();
    const button = (name) => this.box.querySelector(`[data-do=${name}]`);
    button("other").hidden = !this.otherEye;
    button("other").setAttribute("aria-pressed", String(otherEyeWanted));
    button("measuring").setAttribute("aria-pressed", String(this.measuring));
    this.area.classList.toggle("marking", this.marking || this.measuring);
    this.peek.hidden = !this.data.slide.maps || !this.look.shown;
    if (this.measuring) this.line.textContent = this.measured();
    if (this.marking && this.cursor) this.line.textContent = this.cursorSentence();
  }

  draw() {
    super.draw();
    const [panel] = this.panels;
    if (!panel?.width) return;
    const shown = this.place(panel).scale * panel.ratio;
    this.box.querySelector("[data-do=actual]").setAttribute("aria-pressed", String(Math.abs(shown - 1) < 0.005));
    for (const each of this.panels) this.placeRuler(each);
    this.paintOther();
  }

  // The other eye in the same view, zoomed alike, about the mirrored place.
  paintOther() {
    const node = this.area.querySelector(".panel.other");
    const slide = this.otherEye;
    if (!node || !slide) return;
    node.querySelector(".label").textContent = `Other eye${slide.eye ? ` (${slide.eye})` : ""}`;
    const canvas = node.querySelector("canvas");
    canvas.setAttribute("aria-label", `Other eye, ${slide.name}`);
    const view = slide.reduced[this.settings.view] ? this.settings.view : "colour";
    const mine = this.data.slide.field;
    const { field } = slide;
    const ratio = this.panels[0].ratio;
    const [width, height] = [Math.round(node.clientWidth * ratio), Math.round(node.clientHeight * ratio)];
    const span = { x: field.right - field.left, y: field.bottom - field.top };
    const scale = Math.min(width / span.x, height / span.y) * MARGIN * this.look.zoom;
    const across = (this.look.x - mine.left) / (mine.right - mine.left);
    const down = (this.look.y - mine.top) / (mine.bottom - mine.top);
    const x = field.left + (Number.isNaN(across) ? 0.5 : 1 - across) * span.x;
    const y = field.top + (Number.isNaN(down) ? 0.5 : down) * span.y;
    const bitmap = bestLevel(slide, view, scale, () => this.redraw());
    if (!bitmap) return;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    canvas.style.filter = this.panels[0].photo.style.filter;
    const ink = canvas.getContext("2d", { alpha: false });
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.fillRect(0, 0, width, height);
    ink.setTransform(scale, 0, 0, scale, width / 2 - x * scale, height / 2 - y * scale);
    ink.drawImage(bitmap, 0, 0, slide.width, slide.height);
  }

  // One pixel of the screen for a pixel of the photograph.
  actual() {
    const [panel] = this.panels;
    if (!panel?.width) return;
    this.look.zoom /= this.place(panel).scale * panel.ratio;
    this.redraw();
  }

  toggleOther() {
    otherEyeWanted = !otherEyeWanted && Boolean(this.otherEye);
    this.arrange();
  }

  toggleMeasuring() {
    if (this.marking) this.act("marking");
    this.measuring = !this.measuring;
    this.end = null;
    this.begin(this.measuring);
  }

  // A tool that was chosen takes the arrow keys.
  begin(on) {
    this.anchor = this.cursor = null;
    if (on) this.area.focus({ preventScroll: true });
    this.label();
    this.redraw();
  }

  // --- cursor and calliper ------------------------------------------------------------------

  cursorKey(event) {
    if (!(this.marking || this.measuring) || event.ctrlKey || event.metaKey || event.altKey) return;
    const { field } = this.data.slide;
    this.cursor ??= { x: (field.left + field.right) / 2, y: (field.top + field.bottom) / 2 };
    const step = (field.right - field.left) * CURSOR_STEP * (event.shiftKey ? 5 : 1);
    const arrow = ARROWS[event.key];
    if (arrow) this.cursor = this.onPhotograph({ x: this.cursor.x + arrow[0] * step, y: this.cursor.y + arrow[1] * step });
    else if (event.key === " " || event.key === "Enter") this.setCorner(event.key === "Enter");
    else if (event.key === "Delete" || event.key === "Backspace") this.removeAtCursor();
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (this.measuring && this.anchor && !this.fixed) this.end = this.cursor;
    this.label();
    this.redraw();
  }

  // Enter sets a point, or ends a box or a distance that Space began.
  setCorner(finish) {
    if (this.measuring) {
      // The third time a new distance begins.
      if (!this.anchor || this.fixed) { this.anchor = this.cursor; this.fixed = false; } else this.fixed = true;
      return;
    }
    if (!finish && !this.anchor) { this.anchor = this.cursor; return; }
    const { scale } = this.place(this.panels[0]);
    const mark = markFrom(this.anchor ?? this.cursor, this.cursor, scale, this.lesion);
    this.anchor = null;
    this.pending.push({ ...mark, number: null, mine: true });
    this.trigger("mark", { id: this.data.slide.id, ...mark });
  }

  removeAtCursor() {
    const own = this.ownMarkAt({ on: this.cursor, scale: this.place(this.panels[0]).scale });
    if (own) this.trigger("unmark", { id: this.data.slide.id, number: own.number });
  }

  cursorSentence() {
    const { field, disc } = this.data.slide;
    const right = this.cursor.x - (field.left + field.right) / 2;
    const down = this.cursor.y - (field.top + field.bottom) / 2;
    const far = Math.hypot(right, down) / disc;
    const side = `${down < 0 ? "upper" : "lower"} ${right < 0 ? "left" : "right"}`;
    const where = far < 0.1 ? "in the centre" : `${side}, ${far.toFixed(1)} disc diameters from the centre`;
    return `Cursor ${where}. Enter marks a point, Space begins a box, Delete removes your mark. Esc to finish.`;
  }

  measured() {
    if (!this.anchor || !this.end) {
      return "Drag to measure, or move with the arrow keys and press Space at both ends. Esc to finish.";
    }
    return `${this.distance()} (disc diameter taken as 1/7 of the field of view). Esc to finish.`;
  }

  distance() {
    const pixels = Math.hypot(this.end.x - this.anchor.x, this.end.y - this.anchor.y);
    return `${(pixels / this.data.slide.disc).toFixed(2)} disc diameters \u00b7 ${Math.round(pixels)} px`;
  }

  placeRuler(panel) {
    if (!panel.ruler) {
      panel.ruler = document.createElementNS(SVG, "g");
      panel.ruler.setAttribute("class", "ruler");
      panel.marks.append(panel.ruler);
    }
    const place = this.place(panel);
    const at = ({ x, y }) => [
      panel.width / 2 + (x - place.x) * place.scale, panel.height / 2 + (y - place.y) * place.scale];
    const parts = [];
    if (this.measuring && this.anchor && this.end) {
      const [[x1, y1], [x2, y2]] = [at(this.anchor), at(this.end)];
      parts.push(shape("line", { x1, y1, x2, y2 }), shape("circle", { cx: x1, cy: y1, r: 4 }),
        shape("circle", { cx: x2, cy: y2, r: 4 }));
      const text = shape("text", { x: (x1 + x2) / 2 + 8, y: (y1 + y2) / 2 - 8 });
      text.textContent = this.distance();
      parts.push(text);
    }
    if (this.cursor && (this.marking || this.measuring)) {
      const [x, y] = at(this.cursor);
      parts.push(shape("line", { x1: x - 11, y1: y, x2: x + 11, y2: y }),
        shape("line", { x1: x, y1: y - 11, x2: x, y2: y + 11 }));
    }
    if (this.marking && this.anchor && this.cursor) {
      const [[x1, y1], [x2, y2]] = [at(this.anchor), at(this.cursor)];
      parts.push(shape("rect", { x: Math.min(x1, x2), y: Math.min(y1, y2),
        width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) }));
    }
    panel.ruler.replaceChildren(...parts);
  }
}

function shape(kind, values) {
  const node = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
  return node;
}

function otherPanel() {
  const node = document.createElement("div");
  node.className = "panel other";
  node.innerHTML = '<canvas class="photo" role="img"></canvas><span class="label"></span>';
  return node;
}
