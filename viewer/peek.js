// Hold X: the map is hidden for as long as the key is down, without asking the server.
export default function () {
  const typing = (event) => {
    const target = event.composedPath()[0];
    return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
  };
  const set = (hidden) => document.body.classList.toggle("peek", hidden);
  const down = (event) => {
    if (event.key.toLowerCase() !== "x" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!typing(event)) set(true);
  };
  const up = (event) => { if (event.key.toLowerCase() === "x") set(false); };
  const off = () => set(false);
  document.addEventListener("keydown", down);
  document.addEventListener("keyup", up);
  window.addEventListener("blur", off);
  return () => {
    off();
    document.removeEventListener("keydown", down);
    document.removeEventListener("keyup", up);
    window.removeEventListener("blur", off);
  };
}
