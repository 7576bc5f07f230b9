// No page stays empty. A message of the page that the reader has just left may reach the server after
// the change of page; Streamlit then goes back for it, finds nothing to draw, and leaves it at that.
const PATIENCE = 1200; // ms that a page may take to appear after the one before has gone
let waiting = 0;

function look() {
  const app = document.querySelector('[data-testid="stApp"]');
  if (!app || document.querySelector(".st-key-guard")) return; // a page is there
  if (app.dataset.testScriptState === "notRunning") {
    document.querySelector('[data-testid$="NavLink"][aria-current="page"]')?.click();
  }
  waiting = setTimeout(look, PATIENCE);
}

export default function () {
  clearTimeout(waiting);
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(look, PATIENCE);
  };
}
