// Maps in grade units: bilinear between cells, on one fixed colour scale, inside the retina only.
const OUTSIDE = -32768;
const STEPS_PER_GRADE = 200; // as encoding.py writes them

function openGrid(part, raw) {
  const values = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) values[i] = raw[i] === OUTSIDE ? NaN : raw[i] / STEPS_PER_GRADE;
  return { ...part, values };
}

// First and last retinal cell of each row; cells just outside get the mean of their neighbours, for
// the interpolation.
function filled(grid) {
  const { side, values } = grid;
  const first = new Int32Array(side).fill(side);
  const last = new Int32Array(side).fill(-1);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      if (Number.isNaN(values[y * side + x])) continue;
      if (x < first[y]) first[y] = x;
      last[y] = x;
    }
  }
  const smooth = values.slice();
  for (let i = 0; i < values.length; i += 1) {
    if (!Number.isNaN(values[i])) continue;
    const x = i % side;
    const y = (i - x) / side;
    let sum = 0;
    let count = 0;
    for (let v = Math.max(0, y - 1); v <= Math.min(side - 1, y + 1); v += 1) {
      for (let u = Math.max(0, x - 1); u <= Math.min(side - 1, x + 1); u += 1) {
        const near = values[v * side + u];
        if (!Number.isNaN(near)) { sum += near; count += 1; }
      }
    }
    smooth[i] = count ? sum / count : 0;
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
function paintGrid(image, grid, rim, table, range, place) {
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
  const top = table.length - 1;
  const factor = top / (range[1] - range[0]);
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
      const grade = line[c] + (line[c + 1] - line[c]) * share[i];
      const index = ((grade - range[0]) * factor + 0.5) | 0;
      out[k] = table[index < 0 ? 0 : index > top ? top : index];
    }
  }
}

// Lines of equal value, in pixels of the original (marching squares).
function contours(grid, level) {
  const path = new Path2D();
  const { side, values, x0, y0, step } = grid;
  for (let y = 0; y < side - 1; y += 1) {
    for (let x = 0; x < side - 1; x += 1) {
      const i = y * side + x;
      const corners = [values[i], values[i + 1], values[i + side + 1], values[i + side]];
      const above = corners.map((value) => value >= level);
      if (above.every((is) => is === above[0]) || corners.some(Number.isNaN)) continue;
      const cross = [];
      const places = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      for (let k = 0; k < 4; k += 1) {
        const n = (k + 1) % 4;
        if (above[k] === above[n]) continue;
        const t = (level - corners[k]) / (corners[n] - corners[k]);
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

// The value of the cell that holds a place of the original; NaN outside the retina.
function valueAt(grid, x, y) {
  const column = Math.round((x - grid.x0) / grid.step);
  const row = Math.round((y - grid.y0) / grid.step);
  if (column < 0 || row < 0 || column >= grid.side || row >= grid.side) return NaN;
  return grid.values[row * grid.side + column];
}
