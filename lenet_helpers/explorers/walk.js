// Predict the walk: the learner types shapes and counts, the kernel says which term is wrong.

const PATIENCE = 6000; // milliseconds to wait for the kernel before saying that none answers

const noAnswer = () => _("No answer. The kernel is busy or stopped; if it has stopped, run this cell again.");

/** One layer: its text, two fields, a button, and the feedback below. */
const makeRow = (layer, onCheck) => {
  const name = `net[${layer.index}] ${layer.name}`;
  const id = `lenet-walk-${layer.index}-${Math.random().toString(36).slice(2)}`;
  const field = (className, label) => element("input", {
    type: "text", className, autocomplete: "off", spellcheck: false,
    "aria-label": label, "aria-describedby": id,
  });
  const shape = field("shape", _("output shape of {name}", { name }));
  const parameters = field("parameters", _("parameters of {name}", { name }));
  const button = element("button", { type: "button", "aria-label": _("Check {name}", { name }) }, _("Check"));
  const feedback = element("td", { id, colSpan: 4, "aria-live": "polite" });
  const check = () => onCheck(shape.value, parameters.value);
  button.addEventListener("click", check);
  for (const input of [shape, parameters]) {
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") check();
    });
  }
  const body = element("tbody", {},
    element("tr", {},
      element("th", { scope: "row" }, `net[${layer.index}] ${layer.text}`),
      element("td", {}, shape), element("td", {}, parameters), element("td", {}, button)),
    element("tr", { className: "feedback" }, feedback));

  const say = (text) => feedback.replaceChildren(text);
  const judge = (name, hint) => element("div", { className: hint ? "wrong" : "right" },
    hint ? _("✗ {name}: {hint}", { name, hint }) : _("✓ {name}: right.", { name }));
  const show = (answer) => {
    feedback.replaceChildren(judge(_("Shape"), answer.shape_hint), judge(_("Parameters"), answer.parameters_hint));
    shape.setAttribute("aria-invalid", String(Boolean(answer.shape_hint)));
    parameters.setAttribute("aria-invalid", String(Boolean(answer.parameters_hint)));
  };
  const fill = (answer) => {
    shape.value = answer.shape;
    parameters.value = answer.parameters;
  };
  return { body, say, show, fill };
};

export default {
  render({ model, el }) {
    speak(model, el);
    const layers = model.get("layers");
    const status = element("div", { role: "status", "aria-live": "polite", className: "score" });
    const waiting = new Map(); // index of a layer whose answer this page has sent → timer
    const seen = new Map(); // index → number of attempts shown

    const send = (index, shape, parameters) => {
      clearTimeout(waiting.get(index));
      const row = rows.get(index);
      row.say(_("Checking …"));
      waiting.set(index, setTimeout(() => row.say(noAnswer()), PATIENCE));
      try {
        model.send({ index, shape, parameters });
      } catch {
        clearTimeout(waiting.get(index));
        row.say(noAnswer());
      }
    };
    const rows = new Map(layers.map((layer) => [
      layer.index, makeRow(layer, (shape, parameters) => send(layer.index, shape, parameters)),
    ]));

    const showAnswers = () => {
      for (const [text, answer] of Object.entries(model.get("answers"))) {
        const index = Number(text);
        if (seen.get(index) === answer.attempts) continue;
        seen.set(index, answer.attempts);
        // What was sent from here stays as it was typed; an answer from a cell is written into the fields.
        if (!waiting.has(index)) rows.get(index).fill(answer);
        clearTimeout(waiting.get(index));
        waiting.delete(index);
        rows.get(index).show(answer);
      }
    };

    const showScore = () => {
      const score = model.get("score");
      const places = { score, count: layers.length, sum: model.get("parameters").toLocaleString("en-US") };
      status.textContent = score === layers.length
        ? _("{score} of {count} right: you have walked the whole net and found all its {sum} parameters.", places)
        : _("{score} of {count} right, with {sum} parameters.", places);
      status.classList.toggle("right", score === layers.length);
    };

    el.classList.add("lenet", "walk-quiz");
    keepKeys(el);
    el.replaceChildren(
      element("div", {},
        _("The input has the shape ({shape}). What does each layer make of it?", { shape: model.get("input_shape").join(", ") })),
      element("div", { className: "note" },
        _("Write a shape as 8, 3, 32, 32 and press Enter or Check. A layer counts when both answers are right.")),
      element("table", {},
        element("thead", {}, element("tr", {}, ...[_("layer"), _("output shape"), _("parameters"), ""].map((title) =>
          element("th", { scope: "col" }, title)))),
        ...[...rows.values()].map((row) => row.body)),
      status,
    );

    const changes = { "change:answers": showAnswers, "change:score": showScore, "change:parameters": showScore };
    for (const [event, handler] of Object.entries(changes)) model.on(event, handler);
    showAnswers();
    showScore();
    return () => {
      for (const timer of waiting.values()) clearTimeout(timer);
      for (const [event, handler] of Object.entries(changes)) model.off(event, handler);
    };
  },
};
