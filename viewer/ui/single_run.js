// Streamlit runs a component again whenever its data changes, without the cleanup of the run before; the
// cleanup of a run that was overtaken may come after the next run. So each run ends the one before, and
// a late cleanup ends nothing.
let endRun = null;

function singleRun(begin) {
  endRun?.();
  const end = begin();
  endRun = end;
  return () => {
    if (endRun !== end) return;
    endRun = null;
    end();
  };
}
