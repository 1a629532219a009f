/**
 * The status line of the train panel, and what ipywidgets leaves out of the panel around it: names for the sliders,
 * keys that do not reach the notebook, a keyboard focus that is not lost when a button is disabled, and a notice when
 * the kernel behind it is gone.
 */

const CONTROLS = "button, select, input, [role=slider]";
const PATIENCE = 3000; // milliseconds that the kernel has for an answer

const tellBusy = () =>
  _("The kernel is busy with a cell. What you press here acts when that cell ends. The notebook's ■ button stops both.");
const tellLost = () =>
  _("No longer connected: the kernel of this panel has ended or was restarted. Run the cells again, from the top.");

/** Give each slider the label beside it as its name, and the number beside it as its spoken value. */
const nameSliders = (panel) => {
  for (const slider of panel.querySelectorAll(".widget-hslider")) {
    const handle = slider.querySelector("[role=slider]");
    if (!handle) continue;
    const attributes = {
      "aria-label": slider.querySelector(".widget-label")?.textContent,
      "aria-valuetext": slider.querySelector(".widget-readout")?.textContent,
    };
    for (const [key, value] of Object.entries(attributes)) {
      if (value && handle.getAttribute(key) !== value) handle.setAttribute(key, value);
    }
  }
};

/**
 * Where the control with this index has been disabled or drawn anew, and nothing else has the focus, focus it again,
 * or else the next button that can be pressed.
 */
const keepFocus = (panel, index) => {
  const controls = [...panel.querySelectorAll(CONTROLS)];
  const control = controls[index];
  const active = document.activeElement;
  const elsewhere = active && active !== document.body && !active.disabled;
  if (!control || active === control || elsewhere) return;
  const buttons = controls.filter((other) => other.tagName === "BUTTON" && !other.disabled);
  const next = buttons.find((button) => controls.indexOf(button) > index) ?? buttons[0];
  (control.disabled ? next : control)?.focus({ preventScroll: true });
};

/** Called once for a panel, however often its view is drawn anew. */
export default () => {
  let focused = -1; // index of the panel's control that has the keyboard focus, or -1

  return {
    render({ model, el }) {
      speak(model, el);
      const status = document.createElement("div");
      status.className = "lenet-status";
      status.setAttribute("role", "status");
      const notice = document.createElement("div");
      notice.className = "lenet-lost";
      notice.setAttribute("role", "alert");
      el.append(status, notice);

      const ended = new AbortController();
      const listen = (target, event, act, capture = false) =>
        target.addEventListener(event, act, { signal: ended.signal, capture });
      let panel = null;
      let observer = null;
      let heard = Date.now(); // when the kernel last said something
      let asked = null; // when the kernel was asked and has not answered since
      let lost = false;

      const showStatus = () => { status.textContent = model.get("message"); };

      const tell = (text) => {
        if (notice.textContent !== text) notice.textContent = text; // a screen reader reads every change aloud
      };

      const setLost = (value) => {
        lost = value;
        asked = null;
        tell(value ? tellLost() : "");
        status.hidden = value; // it is out of date
        const controls = panel?.querySelector(".lenet-controls");
        if (controls) controls.inert = value;
      };

      /** The training thread has said something: the kernel is there, though it may be too busy to listen. */
      const hear = () => {
        heard = Date.now();
        if (lost) setLost(false);
      };

      /** The kernel has answered. */
      const take = () => {
        hear();
        asked = null;
        tell("");
      };

      /** Ask the kernel whether this panel still exists there. */
      const ask = () => {
        if (asked !== null || lost) return;
        asked = Date.now();
        try {
          model.send("there?");
        } catch {
          setLost(true); // the connection of this widget is closed
        }
      };

      /** Ask again while it trains, and judge a silence: the kernel is busy, or it is not the one that made this panel. */
      const watch = () => {
        if (model.get("running") && Date.now() - heard > PATIENCE) ask();
        if (asked === null || Date.now() - asked < PATIENCE) return;
        if (heard > asked || model.widget_manager?.kernel?.status === "busy") tell(tellBusy());
        else setLost(true);
      };

      /**
       * JupyterLab and Notebook would take a bare key for a command: an arrow moves to another cell, D D deletes this
       * one. What is pressed with Ctrl, Alt or ⌘ is meant for them.
       */
      const keepKeys = ({ target, ctrlKey, altKey, metaKey }) =>
        target.toggleAttribute("data-lm-suppress-shortcuts", !(ctrlKey || altKey || metaKey));

      const adopt = (found) => {
        panel = found;
        const improve = () => {
          nameSliders(panel);
          keepFocus(panel, focused);
        };
        observer = new MutationObserver(improve);
        observer.observe(panel, { subtree: true, childList: true, attributeFilter: ["disabled", "aria-valuetext"] });
        listen(panel, "click", ask);
        for (const event of ["focusin", "keydown", "keyup"]) listen(panel, event, keepKeys, true);
        listen(panel, "focusin", ({ target }) => { focused = [...panel.querySelectorAll(CONTROLS)].indexOf(target); });
        listen(panel, "focusout", ({ target, relatedTarget }) => {
          // A control that was disabled or drawn anew has lost the focus, but the learner has not left it.
          setTimeout(() => {
            const left = target.isConnected && !target.disabled && !panel.contains(document.activeElement);
            if (relatedTarget ? !panel.contains(relatedTarget) : left) focused = -1;
          });
        });
        improve();
      };

      /** The panel around this line can be looked up once the page has put it there. */
      const findPanel = () => {
        const found = el.closest(".lenet-panel");
        if (found) adopt(found);
        else if (!ended.signal.aborted) requestAnimationFrame(findPanel);
      };

      model.on("change:message", showStatus);
      model.on("change:message", hear);
      model.on("msg:custom", take);
      model.on("comm_live_update", ask);
      const timer = setInterval(watch, PATIENCE / 3);
      showStatus();
      findPanel();

      return () => {
        clearInterval(timer);
        ended.abort();
        observer?.disconnect();
      };
    },
  };
};
