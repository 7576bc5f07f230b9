// Maps: colours between cells and outlines, on fixed scales, inside the retina only; and what regions add.
const OUTSIDE = 255; // as encoding.py writes them
const AVERAGED_STEPS = 10_000;

// The grids of one map. `place` of a grid: centre of its first cell and distance of cells in the original.
function openGrid(part, buffer) {
  const grid = (name, Kind) => {
    const { side, offset } = part[name];
    const step = part.size / side;
    return {
      side, step, x0: part.left + step / 2, y0: part.top + step / 2, cells: new Kind(buffer, offset, side * side),
    };
  };
  return {
    name: part.name, regions: part.regions, score: part.score, colours: filled(grid("colours", Uint8Array)),
    averaged: grid("averaged", Int16Array), labels: grid("labels", Uint8Array),
  };
}

// First and last retinal cell of each row; cells just outside get the mean of their neighbours, for
// the interpolation.
function filled(grid) {
  const { side, cells } = grid;
  const first = new Int32Array(side).fill(side);
  const last = new Int32Array(side).fill(-1);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      if (cells[y * side + x] === OUTSIDE) continue;
      if (x < first[y]) first[y] = x;
      last[y] = x;
    }
  }
  const smooth = cells.slice();
  for (let i = 0; i < cells.length; i += 1) {
    if (cells[i] !== OUTSIDE) continue;
    const x = i % side;
    const y = (i - x) / side;
    let sum = 0;
    let count = 0;
    for (let v = Math.max(0, y - 1); v <= Math.min(side - 1, y + 1); v += 1) {
      for (let u = Math.max(0, x - 1); u <= Math.min(side - 1, x + 1); u += 1) {
        const near = cells[v * side + u];
        if (near !== OUTSIDE) { sum += near; count += 1; }
      }
    }
    smooth[i] = count ? Math.round(sum / count) : 0;
  }
  return { ...grid, first, last, smooth };
}

// One 32-bit word per colour, as ImageData stores them.
function colourTable(table) {
  const bytes = new Uint8ClampedArray(table);
  return new Uint32Array(bytes.buffer);
}

// `rim` is the finest map, which says where the retina ends; `place` maps pixels to the original:
// x = place.x + (column + 0.5) * place.step.
function paintGrid(image, grid, rim, table, place) {
  const out = new Uint32Array(image.data.buffer);
  out.fill(0);
  const { width, height } = image;
  const { side, smooth } = grid;
  const left = new Int32Array(width);
  const share = new Float32Array(width);
  for (let i = 0; i < width; i += 1) {
    const u = (place.x + (i + 0.5) * place.step - grid.x0) / grid.step;
    const c = Math.min(Math.max(Math.floor(u), 0), side - 2);
    left[i] = c;
    share[i] = Math.min(Math.max(u - c, 0), 1);
  }
  const line = new Float32Array(side);
  for (let j = 0; j < height; j += 1) {
    const y = place.y + (j + 0.5) * place.step;
    const row = Math.round((y - rim.y0) / rim.step);
    if (row < 0 || row >= rim.side || rim.last[row] < 0) continue;
    const from = rim.x0 + (rim.first[row] - 0.5) * rim.step;
    const to = rim.x0 + (rim.last[row] + 0.5) * rim.step;
    const a = Math.max(0, Math.ceil((from - place.x) / place.step - 0.5));
    const b = Math.min(width - 1, Math.floor((to - place.x) / place.step - 0.5));
    if (b < a) continue;
    const v = (y - grid.y0) / grid.step;
    const r = Math.min(Math.max(Math.floor(v), 0), side - 2);
    const w = Math.min(Math.max(v - r, 0), 1);
    const stop = Math.min(side - 1, left[b] + 1);
    for (let c = left[a], k = r * side + c; c <= stop; c += 1, k += 1) {
      line[c] = smooth[k] + (smooth[k + side] - smooth[k]) * w;
    }
    for (let i = a, k = j * width + a; i <= b; i += 1, k += 1) {
      const c = left[i];
      out[k] = table[(line[c] + (line[c + 1] - line[c]) * share[i] + 0.5) | 0];
    }
  }
}

// Lines of equal value, in pixels of the original (marching squares); closed along the retina's rim,
// outside which cells are 0.
function contours(grid, level) {
  const path = new Path2D();
  const { side, cells, x0, y0, step } = grid;
  const at = level * AVERAGED_STEPS;
  const value = (x, y) => (x < 0 || y < 0 || x >= side || y >= side ? 0 : cells[y * side + x]);
  for (let y = -1; y < side; y += 1) {
    for (let x = -1; x < side; x += 1) {
      const inside = value(x, y) >= at;
      if ((value(x + 1, y) >= at) === inside && (value(x + 1, y + 1) >= at) === inside
        && (value(x, y + 1) >= at) === inside) continue;
      const corners = [value(x, y), value(x + 1, y), value(x + 1, y + 1), value(x, y + 1)];
      const above = corners.map((one) => one >= at);
      const cross = [];
      const places = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      for (let k = 0; k < 4; k += 1) {
        const n = (k + 1) % 4;
        if (above[k] === above[n]) continue;
        const t = (at - corners[k]) / (corners[n] - corners[k]);
        cross.push([
          x0 + (places[k][0] + (places[n][0] - places[k][0]) * t) * step,
          y0 + (places[k][1] + (places[n][1] - places[k][1]) * t) * step,
        ]);
      }
      for (let k = 0; k + 1 < cross.length; k += 2) {
        path.moveTo(...cross[k]);
        path.lineTo(...cross[k + 1]);
      }
    }
  }
  return path;
}

// The outlines of a map, one path for each level; none where no region stands out.
function outlinesOf(map, levels) {
  map.outlines ??= map.regions.length ? levels.map((level) => contours(map.averaged, level)) : [];
  return map.outlines;
}

// The region at a place of the original; undefined if nothing stands out there.
function regionAt(map, x, y) {
  const { side, step, x0, y0, cells } = map.labels;
  const column = Math.round((x - x0) / step);
  const row = Math.round((y - y0) / step);
  if (column < 0 || row < 0 || column >= side || row >= side) return undefined;
  return map.regions[cells[row * side + column] - 1];
}

const percent = (share) => (share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`);

// A map in words, for those who cannot see it: where the evidence is, and how much.
function mapInWords(map) {
  if (!map.regions.length) return "no area stands out";
  const told = map.regions.slice(0, 5).map(({ place, adds, share }) => `${place} adds ${adds.toFixed(2)} (${percent(share)})`);
  const more = map.regions.length - told.length;
  return `evidence: ${told.join("; ")}${more > 0 ? `; and ${more} smaller` : ""}`;
}
