// The answers of report.html: filtered, searched and shown a page at a time. Text is only ever set as text.
"use strict";
(() => {
  const form = document.getElementById("filters");
  if (!form) return;

  const data = JSON.parse(document.getElementById("data").textContent);
  const AS_IT_IS = 1, UNKNOWN = 2; // eval_tasks/reporting/examples.py
  const [TASK, ID, PROMPT, GOLD, ANSWERS] = [0, 1, 2, 3, 4];
  const [TEXT, READ, SCORE, THOUGHTS] = [0, 1, 2, 3];
  const PER_PAGE = 10, WRONG = 0.5;
  const alone = data.models.length < 2;
  const state = { task: "", first: 0, second: alone ? 0 : data.last || 1, kind: alone ? "all" : "differ", text: "", page: 0 };
  const haystacks = new Map();

  const name = (model) => data.models[model][0];
  const colour = (model) => (data.models[model][1] ? "baseline" : "m" + (model % 8));

  const both = (item) => [item[ANSWERS][state.first], item[ANSWERS][state.second]];
  const gain = (item) => {
    const [first, second] = both(item);
    return first && second ? second[SCORE] - first[SCORE] : 0;
  };
  const read = (answer) => (answer[READ] === AS_IT_IS ? answer[TEXT] : answer[READ]);

  // What the rows of each kind have in common, in the order in which they are offered.
  const kinds = alone
    ? {
        all: ["any row", () => true],
        wrong: ["wrong", (item) => both(item)[0][SCORE] < WRONG],
        right: ["full score", (item) => both(item)[0][SCORE] >= 1],
        unreadable: ["unreadable", (item) => both(item)[0][READ] === null],
      }
    : {
        differ: ["they differ", (item) => { const [a, b] = both(item); return a && b && (a[SCORE] !== b[SCORE] || read(a) !== read(b)); }],
        better: ["second is better", (item) => gain(item) > 0],
        worse: ["second is worse", (item) => gain(item) < 0],
        wrong: ["both wrong", (item) => both(item).every((answer) => answer && answer[SCORE] < WRONG)],
        unreadable: ["one is unreadable", (item) => both(item).some((answer) => answer && answer[READ] === null)],
        all: ["any row", () => true],
      };

  function haystack(item) {
    if (!haystacks.has(item)) {
      const texts = item[ANSWERS].filter(Boolean).map((answer) => answer[TEXT]);
      haystacks.set(item, [item[PROMPT], item[GOLD], ...texts].join("\n").toLowerCase());
    }
    return haystacks.get(item);
  }

  function matching() {
    const text = state.text.toLowerCase();
    return data.examples.filter(
      (item) => (!state.task || data.tasks[item[TASK]][0] === state.task) && (!text || haystack(item).includes(text)),
    );
  }

  // --- Elements ---

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // A text with what is invisible in it made visible (control characters, marks of direction) and what was searched marked.
  const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
  function text(tag, content, attributes = {}) {
    const made = element(tag, { dir: "auto", ...attributes });
    let end = 0;
    for (const found of content.matchAll(INVISIBLE)) {
      marked(made, content.slice(end, found.index));
      const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      made.append(element("span", { class: "control", title: "an invisible character" }, "U+" + code));
      end = found.index + found[0].length;
    }
    marked(made, content.slice(end));
    return made;
  }

  function marked(parent, content) {
    const wanted = state.text.toLowerCase(), lower = content.toLowerCase();
    // Where lower case has another length, places in it are not those in the text.
    if (!wanted || lower.length !== content.length) return parent.append(content);
    let end = 0;
    for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, end)) {
      parent.append(content.slice(end, at), element("mark", {}, content.slice(at, at + wanted.length)));
      end = at + wanted.length;
    }
    parent.append(content.slice(end));
  }

  function shown(item) {
    const [, title, family, metric] = data.tasks[item[TASK]];
    const head = element("header", {}, element("h3", {}, title), element("small", {}, `row ${item[ID]}, ${family}, ${metric}`));
    const change = gain(item);
    if (change) {
      const sign = (change > 0 ? "+" : "") + change.toFixed(3);
      head.append(element("span", { class: "gain " + (change > 0 ? "better" : "worse") }, sign));
    }
    const answers = element("div", { class: "part" }, element("h4", {}, "Right answer"), text("pre", item[GOLD]));
    const order = [state.first, state.second, ...data.models.keys()];
    for (const model of new Set(order)) if (item[ANSWERS][model]) answers.append(answer(model, item[ANSWERS][model]));
    const prompt = element("div", { class: "part" }, element("h4", {}, "Prompt"), text("pre", item[PROMPT], { tabindex: "0" }));
    return element("article", { class: "case" }, head, element("div", { class: "parts" }, prompt, answers));
  }

  function answer(model, given) {
    const about = element("div", { class: "about" });
    about.append(element("span", { class: "name" }, name(model)), element("span", { class: "score" }, given[SCORE].toFixed(3)));
    if (given[READ] === null) about.append(element("span", { class: "tag" }, "unreadable"));
    else if (given[READ] === UNKNOWN) about.append(element("small", {}, "how it was read is not known"));
    else if (given[READ] !== AS_IT_IS) about.append(element("small", {}, "read as ", text("b", given[READ], { class: "read" })));
    const made = element("div", { class: "answer " + colour(model) }, about);
    if (given[THOUGHTS]) made.append(element("details", {}, element("summary", {}, "before the answer"), text("pre", given[THOUGHTS])));
    made.append(given[TEXT] ? text("pre", given[TEXT]) : element("small", {}, "(no text)"));
    return made;
  }

  // --- What is shown ---

  function show() {
    const rows = matching();
    const counts = Object.fromEntries(Object.entries(kinds).map(([kind, [, fits]]) => [kind, rows.filter(fits)]));
    for (const [kind, found] of Object.entries(counts)) {
      document.getElementById("count-" + kind).textContent = found.length.toLocaleString("en");
    }
    const chosen = counts[state.kind].map((item, place) => [item, place]);
    chosen.sort(([one, at], [other, then]) => Math.abs(gain(other)) - Math.abs(gain(one)) || at - then);
    const pages = Math.max(1, Math.ceil(chosen.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * PER_PAGE, some = chosen.slice(from, from + PER_PAGE);
    document.getElementById("found").textContent = chosen.length
      ? `Rows ${(from + 1).toLocaleString("en")} to ${(from + some.length).toLocaleString("en")} of ${chosen.length.toLocaleString("en")}` +
        (alone ? "" : ", the largest difference first")
      : "No rows.";
    document.getElementById("list").replaceChildren(...some.map(([item]) => shown(item)));
    document.getElementById("pages").hidden = pages < 2;
    document.getElementById("page").textContent = `${state.page + 1} of ${pages}`;
    document.getElementById("previous").disabled = state.page === 0;
    document.getElementById("next").disabled = state.page === pages - 1;
  }

  function turn(by) {
    state.page += by;
    show();
    const found = document.getElementById("found");
    found.focus({ preventScroll: true });
    found.scrollIntoView();
  }

  // --- Controls ---

  function options(select, values, chosen) {
    select.append(...values.map(([value, label]) => element("option", { value }, label)));
    select.value = chosen;
  }

  function labels() {
    const names = { better: `${name(state.second)} is better`, worse: `${name(state.second)} is worse` };
    for (const [kind, label] of Object.entries(names)) if (kinds[kind]) document.getElementById("label-" + kind).textContent = label;
  }

  const tasks = [...new Set(data.examples.map((item) => item[TASK]))].map((task) => [data.tasks[task][0], data.tasks[task][1]]);
  options(form.task, [["", "all"], ...tasks], "");
  for (const which of ["first", "second"]) options(form[which], data.models.map(([label], place) => [place, label]), state[which]);
  document.getElementById("pair").hidden = alone;
  document.getElementById("kinds").append(
    ...Object.entries(kinds).map(([kind, [label]]) =>
      element(
        "label", {},
        element("input", { type: "radio", name: "kind", value: kind, ...(kind === state.kind ? { checked: "" } : {}) }),
        element("span", { id: "label-" + kind }, label), " ", element("small", { id: "count-" + kind }),
      ),
    ),
  );

  let waiting;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      Object.assign(state, { task: form.task.value, kind: form.kind.value, text: form.text.value.trim(), page: 0 });
      Object.assign(state, { first: Number(form.first.value), second: Number(form.second.value) });
      labels();
      show();
    }, event.target === form.text ? 150 : 0);
  });
  document.getElementById("previous").addEventListener("click", () => turn(-1));
  document.getElementById("next").addEventListener("click", () => turn(1));

  // A link of the table, #task=..., shows that task's rows.
  function follow() {
    const task = new URLSearchParams(location.hash.slice(1)).get("task");
    if (!task || !data.tasks.some(([known]) => known === task)) return;
    Object.assign(state, { task, page: 0 });
    form.task.value = task;
    show();
    document.getElementById("answers").scrollIntoView();
  }
  addEventListener("hashchange", follow);

  form.hidden = false;
  labels();
  show();
  follow();
})();
