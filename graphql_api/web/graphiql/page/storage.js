// Where GraphiQL keeps tabs and history: in the browser, under a name of our own, because the next server at
// this address (127.0.0.1:8000) may be another project with its own GraphiQL.
const PREFIX = 'dropzone:';
const names = () => Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));

/** With `isLinked`, the first tab is shown whatever tabs there are: GraphiQL looks for it, and adds it if it must. */
export function openStorage(firstTab, isLinked) {
  const storage = {
    getItem: (name) => localStorage.getItem(PREFIX + name),
    setItem: (name, value) => localStorage.setItem(PREFIX + name, value),
    removeItem: (name) => localStorage.removeItem(PREFIX + name),
    clear: () => names().forEach((name) => localStorage.removeItem(name)),
    get length() {
      return names().length;
    },
  };
  // GraphiQL fills the variables editor from here alone, even when it opens with the default tabs.
  if (isLinked || !storage.getItem('graphiql:tabState')) {
    storage.setItem('graphiql:query', firstTab.query);
    storage.setItem('graphiql:variables', firstTab.variables);
  }
  return storage;
}
