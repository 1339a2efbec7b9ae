// Shows /openapi.json and lets one try it. No library: it must work where there is no internet.
"use strict";

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

let spec;

const resolve = (schema) =>
  schema && schema.$ref ? schema.$ref.slice(2).split("/").reduce((part, name) => part[name], spec) : schema ?? {};

// A schema in one line: string, integer 0…100, array of uuid, CreateJob.
const typeOf = (schema) => {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const kinds = schema.anyOf ?? schema.oneOf;
  if (kinds) return kinds.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `array of ${typeOf(schema.items)}`;
  const low = schema.minimum ?? schema.exclusiveMinimum ?? schema.minLength;
  const high = schema.maximum ?? schema.maxLength;
  const range = low === undefined && high === undefined ? "" : ` ${low ?? ""}…${high ?? ""}`;
  return (schema.format ?? schema.type ?? "any") + range;
};

// Every field of an object, those of nested objects of ours too.
const fields = (schema, prefix = "", depth = 0) => {
  const object = resolve(schema);
  return Object.entries(object.properties ?? {}).flatMap(([name, field]) => {
    const inner = [field, field.items, ...(field.anyOf ?? [])].find((part) => part && part.$ref);
    const row = { name: prefix + name, field, required: (object.required ?? []).includes(name) };
    return [row, ...(inner && depth < 2 ? fields(inner, `${prefix}${name}.`, depth + 1) : [])];
  });
};

const fieldTable = (rows) =>
  element("table", {}, ...rows.map(({ name, field, required }) =>
    element("tr", {},
      element("td", {}, element("code", { textContent: name }), required ? " *" : ""),
      element("td", { className: "soft", textContent: typeOf(field) }),
      element("td", { textContent: field.description ?? (field.default == null ? "" : `default ${JSON.stringify(field.default)}`) }))));

const example = (schema) =>
  Object.fromEntries(fields(schema, "", 2).filter(({ required }) => required)
    .map(({ name, field }) => [name, field.type === "array" ? [] : field.type === "integer" ? 1 : field.type === "string" ? "" : {}]));

const show = (body) => {
  try { return JSON.stringify(JSON.parse(body), null, 2); } catch { return body; }
};

const send = async (method, path, operation, inputs, body, output) => {
  const headers = {};
  const query = new URLSearchParams();
  let target = path;
  for (const { parameter, input } of inputs) {
    if (input.value === "") continue;
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (parameter.in === "header") headers[parameter.name] = input.value;
    else query.append(parameter.name, input.value);
  }
  const token = document.getElementById("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const url = target + (query.size ? `?${query}` : "");
  output.textContent = "…";
  try {
    const answer = await fetch(url, { method: method.toUpperCase(), headers, body: body ? body.value || undefined : undefined });
    const seen = ["ETag", "Location", "X-Request-Id", "Idempotency-Replayed", "Retry-After"]
      .filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
    const head = [`${answer.status} ${answer.statusText}`, ...seen].join("\n");
    output.textContent = head;
    if ((answer.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) output.textContent += `\n${part.value}`;
      return;
    }
    output.textContent = `${head}\n\n${show(await answer.text())}`;
  } catch (error) {
    output.textContent = String(error);
  }
};

const parameterTable = (parameters, inputs) =>
  element("table", {}, ...parameters.map((parameter) => {
    const input = element("input", { ariaLabel: parameter.name });
    inputs.push({ parameter, input });
    return element("tr", {},
      element("td", {}, element("code", { textContent: parameter.name }), parameter.required ? " *" : ""),
      element("td", { className: "soft", textContent: `${parameter.in}, ${typeOf(parameter.schema)}` }),
      element("td", {}, input),
      element("td", { textContent: parameter.description ?? "" }));
  }));

const operationView = (method, path, operation) => {
  const inputs = [];
  const content = element("div");
  const parameters = operation.parameters ?? [];
  if (parameters.length) content.append(element("h3", { textContent: "Parameters" }), parameterTable(parameters, inputs));
  let body = null;
  const schema = operation.requestBody?.content["application/json"]?.schema;
  if (schema) {
    body = element("textarea", { value: JSON.stringify(example(schema), null, 2), ariaLabel: "Body" });
    content.append(element("h3", { textContent: "Body" }), fieldTable(fields(schema)), body);
  }
  content.append(element("h3", { textContent: "Answers" }), element("table", {}, ...Object.entries(operation.responses).map(([status, answer]) => {
    const shape = Object.entries(resolve(answer).content ?? {}).map(([type, { schema: kind }]) => `${type}${kind ? `: ${typeOf(kind)}` : ""}`);
    return element("tr", {}, element("td", {}, element("code", { textContent: status })), element("td", { textContent: resolve(answer).description }), element("td", { className: "soft", textContent: shape.join(", ") }));
  })));
  const output = element("pre", { ariaLive: "polite" });
  const button = element("button", { type: "button", textContent: "Send" });
  button.addEventListener("click", () => send(method, path, operation, inputs, body, output));
  content.append(button, output);
  return element("details", { id: operation.operationId },
    element("summary", {}, element("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      element("code", { textContent: path }), ` ${operation.summary ?? ""}`), content);
};

const main = async () => {
  spec = await (await fetch("/openapi.json")).json();
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}`;
  document.getElementById("description").textContent = spec.info.description;
  const groups = {};
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, operation] of Object.entries(methods))
      (groups[operation.tags?.[0] ?? "probes"] ??= []).push({ method, path, operation });
  const operations = document.getElementById("operations");
  operations.replaceChildren();
  for (const [tag, members] of Object.entries(groups)) {
    operations.append(element("h2", { textContent: tag }));
    for (const { method, path, operation } of members) {
      operations.append(operationView(method, path, operation));
      document.getElementById("contents").append(
        element("a", { href: `#${operation.operationId}`, textContent: operation.operationId.replaceAll("_", " ") }));
    }
  }
  operations.append(element("h2", { textContent: "Shapes" }));
  for (const name of Object.keys(spec.components.schemas))
    operations.append(element("details", { id: name }, element("summary", { textContent: name }),
      element("div", {}, fieldTable(fields({ $ref: `#/components/schemas/${name}` })))));
  const open = () => { const chosen = document.getElementById(location.hash.slice(1)); if (chosen) chosen.open = true; };
  addEventListener("hashchange", open);
  open();
};

main().catch((error) => { document.getElementById("operations").textContent = `The document could not be shown: ${error}`; });
