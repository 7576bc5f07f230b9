// Points and boxes that readers marked, in pixels of the original, above photograph and map.
const SVG = "http://www.w3.org/2000/svg";
const SMALLEST_BOX = 6; // screen pixels; a shorter drag marks a point

function markShape(mark, scale) {
  const node = document.createElementNS(SVG, "g");
  node.classList.add("mark");
  if (mark.mine) node.classList.add("mine");
  if (mark.number === null) node.classList.add("pending");
  const shape = document.createElementNS(SVG, mark.kind === "box" ? "rect" : "circle");
  const own = mark.kind === "box"
    ? { x: mark.x0, y: mark.y0, width: mark.x1 - mark.x0, height: mark.y1 - mark.y0 }
    : { cx: mark.x0, cy: mark.y0, r: 9 / scale };
  for (const [name, value] of Object.entries(own)) shape.setAttribute(name, value);
  const text = document.createElementNS(SVG, "text");
  text.setAttribute("x", mark.kind === "box" ? mark.x0 : mark.x0 + 12 / scale);
  text.setAttribute("y", mark.kind === "box" ? mark.y0 - 4 / scale : mark.y0 + 4 / scale);
  text.setAttribute("font-size", 11 / scale);
  text.textContent = mark.lesion;
  const title = document.createElementNS(SVG, "title");
  title.textContent = `${mark.lesion}${mark.reader ? `, ${mark.reader}` : ""}`;
  node.append(title, shape, text);
  return node;
}

// The mark of a drag between two places of the original.
function markFrom(from, to, scale, lesion) {
  const far = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y)) * scale >= SMALLEST_BOX;
  const round = (value) => Math.round(value * 100) / 100;
  if (!far) {
    return { kind: "point", lesion, x0: round(from.x), y0: round(from.y), x1: round(from.x), y1: round(from.y) };
  }
  return {
    kind: "box", lesion,
    x0: round(Math.min(from.x, to.x)), y0: round(Math.min(from.y, to.y)),
    x1: round(Math.max(from.x, to.x)), y1: round(Math.max(from.y, to.y)),
  };
}
