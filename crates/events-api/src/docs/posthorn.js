// What makes or sends something stands first: whoever comes here wants to publish.
const METHODS = ["post", "get", "put", "patch", "delete"];

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null,
  operationsSorter: (a, b) =>
    a.get("path").localeCompare(b.get("path")) ||
    METHODS.indexOf(a.get("method")) - METHODS.indexOf(b.get("method")),
});
