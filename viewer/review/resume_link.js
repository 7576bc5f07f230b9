// Offers the list that this browser had open last to whoever comes by the plain address.
const STORE = "drcore-last-list";

export default function ({ data, parentElement }) {
  const link = parentElement.querySelector("a");
  let last = "";
  try {
    if (data.token) localStorage.setItem(STORE, data.token);
    else if (data.gone && data.gone === localStorage.getItem(STORE)) localStorage.removeItem(STORE);
    last = (!data.token && localStorage.getItem(STORE)) || "";
  } catch {
    // A browser that keeps nothing offers nothing.
  }
  link.hidden = !/^[\w-]{20,64}$/.test(last);
  if (!link.hidden) link.href = `?${data.parameter}=${last}`;
}
