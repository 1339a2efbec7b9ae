// Shows /openapi.json and lets one try it. No library: it must work where there is no internet.
"use strict";

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const code = (textContent) => element("code", { textContent });
// Every other part of what stands between backticks is code.
const prose = (text) => text.split("`").map((part, index) => (index % 2 ? code(part) : part));
const soft = (text) => element("span", { className: "soft" }, ...prose(text));

let spec;

const nameOf = (schema) => schema.$ref.split("/").pop();
const resolve = (schema) =>
  schema?.$ref ? schema.$ref.slice(2).split("/").reduce((part, name) => part[name], spec) : schema ?? {};

// A schema in one line: text 1…200, integer 0…100, list of uuid, CreateJob.
const typeOf = (schema) => {
  if (!schema) return "any JSON";
  if (schema.$ref) return nameOf(schema);
  const kinds = schema.anyOf ?? schema.oneOf;
  if (kinds) return kinds.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  const low = schema.minimum ?? schema.exclusiveMinimum ?? schema.minLength;
  const high = schema.maximum ?? schema.maxLength;
  const range = low === undefined && high === undefined ? "" : ` ${low ?? ""}…${high ?? ""}`;
  const plain = { string: "text", "go-duration": "duration", "date-time": "time", etags: "ETag", binary: "lines" };
  const name = schema.format ?? schema.type ?? "any JSON";
  return (plain[name] ?? name) + range;
};

// Every field of an object, those of nested objects of ours too.
const fields = (schema, prefix = "", depth = 0) => {
  const object = resolve(schema);
  return Object.entries(object.properties ?? {}).flatMap(([name, field]) => {
    const inner = [field, field.items, ...(field.anyOf ?? []), ...(field.items?.oneOf ?? [])].filter((part) => part?.$ref);
    const row = { name: prefix + name, field, required: (object.required ?? []).includes(name) };
    return [row, ...(depth < 2 ? inner.flatMap((part) => fields(part, `${prefix}${name}${field.items ? "[]" : ""}.`, depth + 1)) : [])];
  });
};

const described = (schema) =>
  [schema.description, "default" in schema ? `Default ${JSON.stringify(schema.default)}.` : ""].filter(Boolean).join(" ");

const named = (name, required) => element("td", {}, element("code", { textContent: name, className: required ? "required" : "" }));

const fieldTable = (rows) =>
  element("table", {}, ...rows.map(({ name, field, required }) =>
    element("tr", {}, named(name, required), element("td", { textContent: typeOf(field) }), element("td", { textContent: described(field) }))));

const parameterTable = (parameters, inputs) =>
  element("table", {}, ...parameters.map((parameter) => {
    const [shown] = parameter.schema.examples ?? [];
    const input = element("input", { ariaLabel: parameter.name, placeholder: shown ?? parameter.schema.default ?? "" });
    inputs.push({ parameter, input });
    return element("tr", {}, named(parameter.name, parameter.required),
      element("td", {}, `${parameter.in}, ${typeOf(parameter.schema)}`, element("br"), parameter.description ?? described(parameter.schema)),
      element("td", {}, input));
  }));

const answerTable = (responses) =>
  element("table", {}, ...Object.entries(responses).map(([status, response]) => {
    const answer = resolve(response);
    const [[type, { schema }] = [null, {}]] = Object.entries(answer.content ?? {});
    const rows = schema ? fields(schema) : [];
    let shape = type ?? "";
    if (response.$ref) shape = element("a", { href: `#${typeOf(schema)}`, textContent: typeOf(schema) });
    else if (rows.length) shape = element("details", {}, element("summary", {}, code(typeOf(schema))), element("div", {}, fieldTable(rows)));
    const headers = Object.keys(answer.headers ?? {}).filter((name) => name !== "X-Request-Id").join(", ");
    return element("tr", {}, named(status), element("td", {}, ...prose(response.description ?? answer.description), headers ? element("br") : "", headers), element("td", {}, shape));
  }));

// What the inputs say: where to, with which headers and body.
const requestOf = ({ method, path, inputs, body }) => {
  const headers = {};
  const query = new URLSearchParams();
  let target = path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value) || `{${parameter.name}}`);
    else if (input.value === "") continue;
    else if (parameter.in === "header") headers[parameter.name] = input.value;
    else query.append(parameter.name, input.value);
  }
  const token = document.getElementById("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  const text = body?.value.trim();
  if (text) headers["Content-Type"] = "application/json";
  return { method: method.toUpperCase(), url: location.origin + target + (query.size ? `?${query}` : ""), headers, text };
};

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const curlOf = (request) => {
  const secret = (name, value) => (name === "Authorization" ? `"Authorization: Bearer $AI_SERVICE_TOKEN"` : quoted(`${name}: ${value}`));
  return [
    `curl ${request.method === "GET" ? "-N " : request.text ? "" : `-X ${request.method} `}${quoted(request.url)}`,
    ...(request.text && request.method !== "POST" ? [`-X ${request.method}`] : []),
    ...Object.entries(request.headers).map(([name, value]) => `-H ${secret(name, value)}`),
    ...(request.text ? [`-d ${quoted(request.text)}`] : []),
  ].join(" \\\n  ");
};

const pretty = (text) => {
  // Numbers with more digits than JavaScript keeps must not be shown rounded.
  try { return /\d{16}|\d[eE.]\d/.test(text) ? text : JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
};

const SHOWN = ["ETag", "Location", "Idempotency-Replayed", "Preference-Applied", "Retry-After", "X-Request-Id"];

const send = async (request, output, signal) => {
  output.className = "";
  output.textContent = "…";
  try {
    const answer = await fetch(request.url, { method: request.method, headers: request.headers, body: request.text || undefined, signal });
    output.className = answer.ok ? "" : "bad";
    const seen = SHOWN.filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
    output.textContent = [`${answer.status} ${answer.statusText}`, ...seen, "", ""].join("\n");
    if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      output.textContent += pretty(await answer.text());
      return;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      output.textContent += part.value;
      output.scrollTop = output.scrollHeight;
    }
  } catch (error) {
    if (error.name !== "AbortError") Object.assign(output, { className: "bad", textContent: String(error) });
  }
};

const form = (method, path, operation, inputs, body) => {
  const output = element("output", { ariaLive: "polite" });
  const command = element("pre", { hidden: true });
  const button = element("button", { type: "button", className: "send", textContent: "Send" });
  const stop = element("button", { type: "button", textContent: "Stop", hidden: true });
  const curl = element("button", { type: "button", textContent: "curl" });
  const request = () => requestOf({ method, path, inputs, body });
  button.addEventListener("click", async () => {
    const running = new AbortController();
    stop.onclick = () => running.abort();
    stop.hidden = false;
    button.disabled = true;
    await send(request(), output, running.signal);
    stop.hidden = true;
    button.disabled = false;
  });
  curl.addEventListener("click", () => {
    command.textContent = curlOf(request());
    command.hidden = false;
    getSelection().selectAllChildren(command);
    navigator.clipboard?.writeText(command.textContent).catch(() => {});
  });
  return [element("div", { className: "actions" }, button, stop, curl), command, output];
};

const operationView = (method, path, operation) => {
  const inputs = [];
  const content = element("div");
  const parameters = operation.parameters ?? [];
  if (parameters.length) content.append(element("h3", { textContent: "Parameters" }), parameterTable(parameters, inputs));
  let body = null;
  const json = operation.requestBody?.content["application/json"];
  if (json) {
    body = element("textarea", { value: json.example ? JSON.stringify(json.example, null, 2) : "{}", ariaLabel: "Body", spellcheck: false });
    body.rows = body.value.split("\n").length + 1;
    const rows = fields(json.schema);
    content.append(element("h3", { textContent: "Body" }), ...(rows.length ? [body, fieldTable(rows)] : ["None is needed."]));
    const others = Object.entries(operation.requestBody.content).filter(([type]) => type !== "application/json");
    for (const [type, { schema }] of others) content.append(element("p", {}, "Or ", code(type), `: ${schema.description}`));
  }
  content.append(...form(method, path, operation, inputs, body));
  content.append(element("h3", { textContent: "Answers" }), answerTable(operation.responses));
  const scope = operation.security?.[0]?.bearer?.[0];
  return element("details", { id: operation.operationId, className: "operation" },
    element("summary", {},
      element("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      element("code", { className: "path", textContent: path }),
      soft(operation.summary ?? ""),
      scope ? element("span", { className: "scope", title: "The scope that a token needs", textContent: scope }) : ""),
    content);
};

// Hides what does not hold all words; a group goes with the last of its operations.
const search = (typed) => {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll("#operations > section")) {
    const members = [...group.querySelectorAll(":scope > details")];
    for (const each of members) {
      const text = `${each.id} ${each.dataset.text ??= each.textContent.toLowerCase()}`.toLowerCase();
      each.hidden = !words.every((word) => text.includes(word));
      const link = document.querySelector(`nav a[href="#${each.id}"]`);
      if (link) link.hidden = each.hidden;
    }
    group.hidden = members.every((each) => each.hidden);
  }
};

const openChosen = () => {
  const chosen = document.getElementById(location.hash.slice(1));
  if (chosen?.tagName !== "DETAILS") return;
  chosen.open = true;
  chosen.scrollIntoView();
};

const main = async () => {
  spec = await (await fetch("/openapi.json")).json();
  document.getElementById("version").textContent = spec.info.version;
  document.getElementById("description").textContent = spec.info.description;
  document.getElementById("security").textContent = spec.components.securitySchemes.bearer.description ?? "";
  const groups = {};
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, operation] of Object.entries(methods))
      (groups[operation.tags?.[0] ?? "other"] ??= []).push({ method, path, operation });
  const operations = document.getElementById("operations");
  const contents = document.getElementById("contents");
  operations.replaceChildren();
  for (const [tag, members] of Object.entries(groups)) {
    const section = element("section", {}, element("h2", { textContent: tag }));
    contents.append(element("h2", { textContent: tag }));
    for (const { method, path, operation } of members) {
      section.append(operationView(method, path, operation));
      contents.append(element("a", { href: `#${operation.operationId}`, textContent: operation.operationId.replaceAll("_", " ") }));
    }
    operations.append(section);
  }
  operations.append(element("section", {}, element("h2", { textContent: "Shapes" }),
    ...Object.keys(spec.components.schemas).map((name) =>
      element("details", { id: name }, element("summary", {}, code(name), soft(spec.components.schemas[name].description ?? "")),
        element("div", {}, fieldTable(fields({ $ref: `#/components/schemas/${name}` })))))));
  document.getElementById("search").addEventListener("input", (event) => search(event.target.value));
  addEventListener("hashchange", openChosen);
  openChosen();
};

main().catch((error) => { document.getElementById("operations").textContent = `The document could not be shown: ${error}`; });
