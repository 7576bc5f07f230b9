// Name, result card and image reach the page one after the other. What belongs to different photographs
// is not shown side by side, not for a moment: card and image stay empty until all have come.
function veilWhatDiffers() {
  const stage = document.querySelector("[data-stage]");
  const parts = [...document.querySelectorAll("h1.name [data-image], .verdict[data-image]")];
  const differ = Boolean(stage) && parts.some((part) => part.dataset.image !== stage.dataset.stage);
  for (const part of [stage, ...parts]) part?.toggleAttribute("data-veiled", differ);
}

const onePhotograph = new MutationObserver(veilWhatDiffers);
onePhotograph.observe(document.body, {
  subtree: true, childList: true, attributes: true, attributeFilter: ["data-stage", "data-image"],
});
