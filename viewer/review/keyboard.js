// Keys of the decision; which grade is chosen, for screen readers; the question before leaving.
const NOTE = "[class*='st-key-note-'] textarea";
const FIELDS = `${NOTE}, .st-key-reader input`;
const TYPED = "textarea, select, [contenteditable=true], "
  + "input:not([type=range], [type=checkbox], [type=radio], [type=button])";

// One key after the other: each waits until the server has obeyed the one before. What is pressed in
// one moment would reach the server as one message, in which a second save of the same button is lost.
// A save that was lost with the connection does not hold up the keys for ever.
const PATIENCE = 8000; // ms
const queue = [];
let version = "";
let busy = 0;

function buttonOf(key, shift) {
  const find = (name) => document.querySelector(`.st-key-${name} button:not(:disabled)`);
  if (key === "s") return (shift && find("save-stay")) || find("save-next");
  const moves = { arrowleft: "previous", arrowright: "next", j: "study-next" };
  if (moves[key]) return find(moves[key]);
  return find(`choose-${{ a: "agree", u: "ungradable" }[key] ?? key}`);
}

function obeyNext() {
  while (!busy && queue.length) {
    const button = buttonOf(...queue.shift());
    if (!button || button.getAttribute("aria-pressed") === "true") continue;
    busy = setTimeout(askAgain, PATIENCE);
    button.click();
  }
}

// A slow server still draws: a key that did not wait for it could reach the wrong image.
function askAgain() {
  const idle = document.querySelector(".stApp[data-test-script-state=notRunning]");
  busy = idle ? 0 : setTimeout(askAgain, PATIENCE);
  obeyNext();
}

function queued(event) {
  const [target] = event.composedPath();
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (target instanceof Element && target.closest(`${TYPED}, [role=listbox], [role=menu]`)) return;
  const key = event.key.toLowerCase();
  const moves = ["arrowleft", "arrowright", "j"].includes(key) && (busy || queue.length);
  if (!/^[01234aus]$/.test(key) && !moves) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (event.repeat) return;
  queue.push([key, event.shiftKey]);
  obeyNext();
}

function begin({ data }) {
  const mark = requestAnimationFrame(() => {
    for (const choice of document.querySelectorAll("[class*='st-key-choose-']")) {
      const chosen = choice.classList.contains(`st-key-${data.chosen}`);
      choice.querySelector("button")?.setAttribute("aria-pressed", String(chosen));
    }
    if (data.version !== version) {
      version = data.version;
      clearTimeout(busy);
      busy = 0;
    }
    obeyNext();
  });
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
  window.addEventListener("keydown", queued, true);
  window.addEventListener("beforeunload", leaving);
  return () => {
    cancelAnimationFrame(mark);
    document.removeEventListener("keydown", keydown);
    window.removeEventListener("keydown", queued, true);
    window.removeEventListener("beforeunload", leaving);
  };
}

export default function (component) { return singleRun(() => begin(component)); }
