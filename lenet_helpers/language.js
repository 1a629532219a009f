// The language of a widget. This text is put in front of each widget's module; the texts come with the model.

let texts = {};

/** Speak the widget's language in `el`: call it first in render. */
const speak = (model, el) => {
  texts = model.get("texts");
  el.lang = model.get("language");
};

/** Return a text in the widget's language, with its {places} filled in. */
const _ = (text, places = {}) => (texts[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => places[name] ?? whole);

