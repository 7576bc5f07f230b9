// The list of photographs. Everything untrusted (names) is set as text, never as HTML.
export default function ({ data, parentElement, setTriggerValue }) {
  const list = parentElement.querySelector(".list");
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const wanted = data.items.flatMap((entry) => {
    const item = known.get(entry.key) ?? create(entry.key);
    fill(item, entry, entry.key === data.selected);
    return entry.heading ? [heading(entry.heading, `above ${entry.key}`), item] : [item];
  });
  const same = wanted.length === list.children.length
    && wanted.every((item, index) => item === list.children[index]);
  if (!same) list.replaceChildren(...wanted);
  if (list.dataset.selected !== data.selected) {
    list.dataset.selected = data.selected;
    list.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
  }

  function heading(patient, key) {
    const item = known.get(key) ?? document.createElement("div");
    if (!item.className) {
      item.className = "patient";
      item.dataset.key = key;
      item.setAttribute("role", "presentation");
      item.innerHTML = '<span class="text"><span class="name"></span><span class="note"></span>'
        + '</span><span class="chip"></span>';
    }
    item.querySelector(".name").textContent = patient.title;
    item.querySelector(".note").textContent = patient.note;
    item.title = `${patient.title}: ${patient.note}`;
    paint(item.querySelector(".chip"), patient.chip);
    return item;
  }

  // What only the model says is drawn as an outline.
  function paint(chip, [text, background, ink], outlined = false) {
    chip.textContent = text;
    chip.style.background = outlined ? "transparent" : background;
    chip.style.color = outlined ? "inherit" : ink;
    chip.style.boxShadow = outlined ? `inset 0 0 0 2px ${background}` : "";
  }

  function create(key) {
    const item = document.createElement("button");
    item.type = "button";
    item.dataset.key = key;
    item.innerHTML = '<span class="thumb"><img alt="" loading="lazy"></span>'
      + '<span class="text"><span class="name"></span><span class="note"></span></span>'
      + '<span class="end"><span class="by"></span><span class="chip"></span>'
      + '<span class="done" aria-hidden="true"></span></span>';
    item.onclick = () => setTriggerValue("pick", key);
    return item;
  }

  function fill(item, entry, selected) {
    item.setAttribute("aria-current", String(selected));
    const image = item.querySelector("img");
    if (image.getAttribute("src") !== entry.thumbnail) {
      if (entry.thumbnail) image.setAttribute("src", entry.thumbnail);
      else image.removeAttribute("src");
    }
    item.querySelector(".name").textContent = entry.name;
    item.title = entry.name;
    item.querySelector(".note").textContent = entry.note;
    const chip = item.querySelector(".chip");
    paint(chip, entry.chip, entry.by === "Model grade");
    chip.title = entry.by;
    item.querySelector(".by").textContent = entry.by;
    item.classList.toggle("decided", entry.decided && !entry.unsaved);
    item.classList.toggle("unsaved", entry.unsaved);
    item.querySelector(".done").textContent = entry.unsaved ? "\u25cf" : "\u2713";
  }
}
