// Pictures and maps in the browser's memory: fetched once, decoded in the background, released.
const SOURCES = new Map(); // by address: { value, promise, failed }
const RETRY = 600; // ms; a page that is being redrawn may withhold a file for a moment
const SMALL = 800; // pixels of the smallest level: a finer one would flicker where shrunk further

async function fetched(url) {
  for (let attempt = 0; ; attempt += 1) {
    // No copy of a patient's photograph on the browser's disk.
    const answer = await fetch(url, { cache: "no-store" }).catch(() => null);
    if (answer?.ok) return answer;
    if (attempt === 3) throw new Error(`no answer for ${url}`);
    await new Promise((done) => setTimeout(done, RETRY * (attempt + 1)));
  }
}

async function levels(picture) {
  const blob = await (await fetched(picture.url)).blob();
  const made = [createImageBitmap(blob)];
  if (picture.small && Math.max(picture.width, picture.height) > 1.5 * SMALL) {
    const resizeWidth = Math.round((picture.width * SMALL) / Math.max(picture.width, picture.height));
    made.push(createImageBitmap(blob, { resizeWidth, resizeQuality: "high" }));
  }
  return Promise.all(made);
}

async function grids(maps) {
  const buffer = await (await fetched(maps.url)).arrayBuffer();
  return { scales: new Map(maps.scales.map((part) => [part.name, openGrid(part, buffer)])) };
}

// What is there now, or undefined; what is not comes later, and then `ready` is called.
function source(item, make, ready) {
  if (!item) return undefined;
  let kept = SOURCES.get(item.url);
  if (!kept) {
    kept = { value: undefined, failed: false };
    kept.promise = make(item).then(
      (value) => {
        if (SOURCES.get(item.url) === kept) kept.value = value;
        else if (Array.isArray(value)) for (const bitmap of value) bitmap.close();
      },
      () => { kept.failed = true; },
    );
    SOURCES.set(item.url, kept);
  }
  if (ready && !kept.value && !kept.failed) kept.promise.then(ready);
  return kept.value;
}

function failed(item) { return Boolean(item && SOURCES.get(item.url)?.failed); }

function release(kept) {
  if (Array.isArray(kept.value)) for (const bitmap of kept.value) bitmap.close();
}

// Keep what these photographs need, and nothing else: a decoded original takes 50 MB.
function keepOnly(slides) {
  const wanted = new Set();
  for (const slide of slides) {
    for (const item of [slide.original, slide.maps, ...Object.values(slide.reduced),
      ...Object.values(slide.large)]) if (item) wanted.add(item.url);
  }
  for (const [url, kept] of SOURCES) {
    if (wanted.has(url)) continue;
    SOURCES.delete(url);
    release(kept);
  }
}

// The bitmap to draw at so many screen pixels for a pixel of the original, with its own size.
function bestLevel(slide, base, scale, ready) {
  const large = base === "colour" ? slide.original : slide.large[base];
  const small = { ...slide.reduced[base], small: true };
  const wanted = scale / 1.2; // a little upsampling is not seen
  const found = (source(small, levels, ready) ?? []).toSorted((a, b) => a.width - b.width);
  const fine = found.at(-1);
  const enough = fine && fine.width / slide.width >= wanted;
  if (large && (!enough || !fine)) {
    const full = source(large, levels, ready);
    if (full) found.push(...full);
  }
  return found.find((bitmap) => bitmap.width / slide.width >= wanted) ?? found.at(-1);
}

function wantsLarge(slide, base, scale) {
  const reduced = slide.reduced[base];
  return base !== "colour" && !slide.large[base]
    && reduced.width < slide.width && reduced.width / slide.width < scale / 1.2;
}
