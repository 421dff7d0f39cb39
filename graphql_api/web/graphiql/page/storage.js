// Stores tabs and history in the browser. Names have a prefix, because another project with GraphiQL may later use the
// same address (127.0.0.1:8000).
const PREFIX = 'dropzone:';
const HISTORY = ['graphiql:queries', 'graphiql:favorites'];
const names = () => Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));

/** If `isLinked`, selects the first default tab. GraphiQL adds this tab if the stored tabs do not contain it. */
export function openStorage(firstTab, isLinked) {
  const storage = {
    getItem: (name) => localStorage.getItem(PREFIX + name),
    setItem: (name, value) => localStorage.setItem(PREFIX + name, HISTORY.includes(name) ? withoutHeaders(value) : value),
    removeItem: (name) => localStorage.removeItem(PREFIX + name),
    clear: () => names().forEach((name) => localStorage.removeItem(name)),
    get length() {
      return names().length;
    },
  };
  // GraphiQL fills the variables editor from the storage only, even if it opens with the default tabs.
  if (isLinked || !storage.getItem('graphiql:tabState')) {
    storage.setItem('graphiql:query', firstTab.query);
    storage.setItem('graphiql:variables', firstTab.variables);
  }
  return storage;
}

/** Returns the stored history without the headers of its requests, because a header can contain a key. */
function withoutHeaders(history) {
  return JSON.stringify(JSON.parse(history), (name, value) => (name === 'headers' ? undefined : value));
}
