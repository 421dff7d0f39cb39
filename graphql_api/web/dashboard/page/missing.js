// A sign-in link leads to this page if the dashboard was not built. GraphiQL signs in with the token in the same way.
for (const link of document.querySelectorAll('a')) link.hash = location.hash;
