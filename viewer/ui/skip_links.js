// Links to the parts of the page, first in the order of the Tab key and seen while focused.
const PARTS = [
  ["Skip to image", () => document.querySelector("[data-stage]")?.shadowRoot?.querySelector(".panels")],
  ["Skip to grading", () => document.querySelector(".st-key-decide button")],
  ["Skip to content", () => document.querySelector("[data-testid=stMain]")],
];

export default function () {
  if (document.querySelector("nav.skip")) return;
  const nav = Object.assign(document.createElement("nav"), { className: "skip" });
  nav.setAttribute("aria-label", "Skip links");
  for (const [text, find] of PARTS) {
    const link = Object.assign(document.createElement("a"), { href: "#", textContent: text });
    link.onclick = (event) => {
      event.preventDefault();
      const part = find();
      if (!part) return;
      if (part.tabIndex < 0) part.tabIndex = -1;
      part.focus();
      part.scrollIntoView({ block: "nearest" });
    };
    nav.append(link);
  }
  // Before a link is reached, those of parts that this page lacks are taken out of the way.
  const refresh = () => [...nav.children].forEach((link, i) => { link.hidden = !PARTS[i][1](); });
  document.addEventListener("keydown", (event) => { if (event.key === "Tab") refresh(); }, true);
  document.body.prepend(nav);
}
