// Whoever goes to another page is told and asked nothing more on this one: see guard.js.
const LINKS = '[data-testid$="NavLink"], [data-testid^="stPageLink"]';
const toAnotherPage = (event) => Boolean(event.target.closest?.(LINKS));
