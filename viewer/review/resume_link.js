// On the landing page, offers the list that this browser had open last.
const STORE = "drcore-last-list";

export default function ({ data, parentElement }) {
  const link = parentElement.querySelector("a");
  let last = "";
  try {
    if (data.token) localStorage.setItem(STORE, data.token);
    else if (data.cleared && data.cleared === localStorage.getItem(STORE)) localStorage.removeItem(STORE);
    last = (!data.token && localStorage.getItem(STORE)) || "";
  } catch {
    // Without storage there is nothing to offer.
  }
  link.hidden = !/^[\w-]{20,64}$/.test(last);
  if (!link.hidden) link.href = `?${data.parameter}=${last}`;
}
