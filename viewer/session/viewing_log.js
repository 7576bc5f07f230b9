// What the reader was really shown: ten times a second, the maps that are painted on the stage.
const TICK = 100;
const GAP = 5000; // between two ticks: the computer slept, or another page was open
const KEPT = 4; // the server may not have heard of the photographs just before

// Beyond the component: a visit to another page takes it away and makes it anew.
const tallies = new Map();
let last = Date.now();
let wasHidden = document.hidden;
let left = 0;

const leave = (event) => { if (toAnotherPage(event)) left = Date.now(); };

export default function ({ data, setStateValue }) {
  let before = [];

  const tally = () => {
    if (!tallies.has(data.turn)) {
      tallies.set(data.turn, { scales: [], away: 0, told: "" });
      for (const turn of [...tallies.keys()].slice(0, -KEPT)) tallies.delete(turn);
    }
    return tallies.get(data.turn);
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
    if (now - left < GAP) return;
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
    const tell = JSON.stringify([mine.scales, Math.round(mine.away / 1000)]);
    if (tell === mine.told) return;
    mine.told = tell;
    setStateValue("look", Object.fromEntries([...tallies].filter(([, t]) => t.told)
      .map(([turn, t]) => [turn, { scales: t.scales, away: t.away / 1000 }])));
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
