// What the panels show: photograph, map, outlines and marks, drawn on their canvases.
const MAX_ZOOM = 8; // screen pixels for a pixel of the original
const MAP_PIXELS = 700_000; // a map is smooth: more would not be visible
const MARGIN = 0.985; // of the panel that the retina fills at first

class Drawing extends Panels {
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
