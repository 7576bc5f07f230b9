// Keys of the decision; which grade is chosen, for screen readers; the question before leaving.
const NOTE = "[class*='st-key-note-'] textarea";
const FIELDS = `${NOTE}, .st-key-reader input`;
const TYPED = "textarea, select, [contenteditable=true], "
  + "input:not([type=range], [type=checkbox], [type=radio], [type=button])";

export default function ({ data }) {
  const keydown = (event) => {
    const [target] = event.composedPath();
    if (!(target instanceof Element) || event.isComposing) return;
    const command = event.ctrlKey || event.metaKey;
    if (target.matches(FIELDS)) {
      // Leaving a field commits it; the page's keys apply again.
      if (event.key === "Escape" || (event.key === "Enter" && command)) target.blur();
    } else if (target.matches(TYPED)) {
      return;
    } else if (event.key.toLowerCase() === "z" && command && !event.shiftKey) {
      document.querySelector(".st-key-undo button")?.click();
    } else if (event.key.toLowerCase() === "n" && !command && !event.altKey) {
      event.preventDefault();
      document.querySelector(NOTE)?.focus();
    }
  };
  const leaving = (event) => { if (data.unsaved) event.preventDefault(); };
  const mark = requestAnimationFrame(() => {
    for (const choice of document.querySelectorAll("[class*='st-key-choose-']")) {
      const chosen = choice.classList.contains(`st-key-${data.chosen}`);
      choice.querySelector("button")?.setAttribute("aria-pressed", String(chosen));
    }
  });
  // The list is drawn again only with the whole page: a choice is marked in it at once.
  const row = [...document.querySelectorAll(".st-key-queue *")].map((node) => node.shadowRoot)
    .find(Boolean)?.querySelector("button[aria-current=true]");
  if (row && data.note) {
    row.classList.remove("decided");
    row.classList.add("unsaved");
    row.querySelector(".note").textContent = data.note;
    row.querySelector(".done").textContent = "\u25cf";
  }
  document.addEventListener("keydown", keydown);
  window.addEventListener("beforeunload", leaving);
  return () => {
    cancelAnimationFrame(mark);
    document.removeEventListener("keydown", keydown);
    window.removeEventListener("beforeunload", leaving);
  };
}
