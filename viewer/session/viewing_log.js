// What the reader is really shown: ten times a second, the maps that are painted.
const TICK = 100;
const GAP = 5000; // between two ticks: the computer slept, or another page was open
const MAX_TALLIES = 4; // the server may not have the tallies of the photographs just before

// Outlive the component: a visit to another page removes it and creates a new one.
const tallies = new Map();
let last = Date.now();
let wasHidden = document.hidden;
let leftAt = 0;

const leave = (event) => { if (toAnotherPage(event)) leftAt = Date.now(); };

function begin({ data, parentElement, setStateValue }) {
  const { dataset } = parentElement.getRootNode().host ?? parentElement;
  let before = [];

  const tally = () => {
    if (!tallies.has(data.view)) {
      tallies.set(data.view, { scales: [], away: 0, sent: "" });
      for (const view of [...tallies.keys()].slice(0, -MAX_TALLIES)) tallies.delete(view);
    }
    return tallies.get(data.view);
  };

  // null where this photograph is not on the stage (yet).
  const painted = () => {
    const stage = document.querySelector("[data-stage]");
    if (stage?.dataset.photograph !== data.image) return null;
    return data.scales.filter((scale) => stage.dataset.painted.split(" ").includes(scale));
  };

  const tick = () => {
    const now = Date.now();
    const passed = now - last;
    last = now;
    const mine = tally();
    if (now - leftAt < GAP) return;
    if (wasHidden || passed > GAP) mine.away += passed;
    wasHidden = document.hidden;
    if (wasHidden) { before = []; return; }
    const maps = painted();
    if (maps === null) { before = []; return; }
    for (const scale of maps) {
      // Twice in a row: what flashes by while the page changes was not seen.
      if (before.includes(scale) && !mine.scales.includes(scale)) mine.scales.push(scale);
    }
    before = maps;
    const report = JSON.stringify([mine.scales, Math.round(mine.away / 1000)]);
    if (report === mine.sent) return;
    mine.sent = report;
    dataset.view = data.view;
    dataset.seen = mine.scales.join(" ");
    setStateValue("views", Object.fromEntries([...tallies].filter(([, t]) => t.sent)
      .map(([view, t]) => [view, { scales: t.scales, away: t.away / 1000 }])));
  };

  const timer = setInterval(tick, TICK);
  document.addEventListener("visibilitychange", tick);
  document.addEventListener("click", leave, true);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", tick);
    document.removeEventListener("click", leave, true);
  };
}

export default function (component) { return singleRun(() => begin(component)); }
