"""The script of the panel's status line alone in a blank page, amid stand-ins for the widgets around it."""

import pytest
from playwright.sync_api import expect

from lenet_helpers.panel import StatusLine

SLIDER = """
<div class="widget-hslider">
  <label class="widget-label">{}</label>
  <div class="noUi-handle" role="slider" tabindex="0" aria-valuetext="-0.05"></div>
  <div class="widget-readout">{}</div>
</div>"""
AROUND = f"""
<div class="lenet-panel">
  <div class="lenet-controls">
    {SLIDER.format("learning rate", "0.900")}
    {SLIDER.format("epochs", "10")}
    <select aria-label="batch size"><option>128</option><option selected>256</option></select>
    <button>Train</button><button disabled>Stop</button><button disabled>Continue</button>
  </div>
  {{}}
</div>
<button>elsewhere</button>"""


@pytest.fixture
def panel(mount, page, clock):
    """The panel of a page whose clock stands still until a test moves it on."""
    status = StatusLine()
    status.message = "Ready."
    mount(status, around=AROUND)
    clock.run_for(100)  # the script looks for the panel in the next frame
    return page.locator(".lenet-panel")


@pytest.fixture
def status(panel):
    return panel.get_by_role("status")


@pytest.fixture
def notice(panel):
    return panel.get_by_role("alert")


def button(panel, name):
    return panel.get_by_role("button", name=name)


def enable(page, *names):
    """Let the kernel say which buttons can be pressed: these and no others."""
    page.evaluate(
        """(names) => {
            for (const button of document.querySelectorAll(".lenet-controls button")) {
                button.disabled = !names.includes(button.textContent);
            }
        }""",
        names,
    )


def train(page):
    """Let the kernel say that it trains."""
    enable(page, "Stop")
    page.evaluate("model.set({ running: true, message: 'Training.' })")


def asked(page):
    """Return how often the page has asked the kernel since the last call whether it is there."""
    return page.evaluate("(window.sent ?? []).splice(0)").count("there?")


def test_sliders_have_names_and_say_the_value_beside_them(panel, page):
    rate, epochs = panel.get_by_role("slider").all()
    expect(rate).to_have_accessible_name("learning rate")
    expect(rate).to_have_attribute("aria-valuetext", "0.900")
    expect(epochs).to_have_accessible_name("epochs")
    panel.locator(".widget-readout").first.evaluate("readout => { readout.textContent = '0.100'; }")
    expect(rate).to_have_attribute("aria-valuetext", "0.100")
    rate.evaluate("handle => handle.setAttribute('aria-valuetext', '-1')")  # its exponent, as ipywidgets writes it
    expect(rate).to_have_attribute("aria-valuetext", "0.100")


def test_focus_goes_on_to_the_next_button_when_the_pressed_one_is_disabled(panel, page):
    button(panel, "Train").focus()
    for enabled, focused in ((["Stop"], "Stop"), (["Train", "Continue"], "Continue"), (["Stop"], "Stop")):
        enable(page, *enabled)
        expect(page.locator("body")).to_be_focused()  # what the browser makes of it
        page.evaluate("message => model.set({ message })", f"{focused} can be pressed now.")
        expect(button(panel, focused)).to_be_focused()


def test_focus_comes_back_to_a_slider_that_is_drawn_anew(panel, page):
    panel.get_by_role("slider").nth(1).focus()
    panel.evaluate("panel => { panel.innerHTML += ''; }")
    expect(panel.get_by_role("slider").nth(1)).to_be_focused()


def test_focus_is_left_where_the_learner_has_gone(panel, page):
    elsewhere = page.get_by_role("button", name="elsewhere")
    button(panel, "Train").focus()
    elsewhere.focus()
    page.clock.run_for(100)
    train(page)
    expect(elsewhere).to_be_focused()
    elsewhere.evaluate("button => button.blur()")
    enable(page, "Train", "Continue")
    expect(page.locator("body")).to_be_focused()


def test_bare_keys_stay_in_the_panel(panel, page):
    for control in (panel.get_by_role("slider").first, panel.get_by_role("combobox"), button(panel, "Train")):
        control.focus()
        for key in ("ArrowDown", "ArrowRight", "d", "Enter"):
            page.keyboard.press(key)
    assert page.evaluate("leaked") == []
    page.keyboard.press("Control+s")  # saving the notebook is meant for JupyterLab
    page.keyboard.press("d")
    assert page.evaluate("leaked") == ["s"]


def test_an_answer_to_a_click_shows_nothing(panel, page, status, notice):
    button(panel, "Train").click()
    assert asked(page) == 1
    page.evaluate("model.emit('msg:custom', 'here')")
    page.clock.run_for(60_000)
    expect(notice).to_be_empty()
    expect(status).to_have_text("Ready.")


def test_silence_after_a_click_is_told_and_the_controls_rest(panel, page, status, notice):
    button(panel, "Train").click()
    page.clock.run_for(2000)
    expect(notice).to_be_empty()
    page.clock.run_for(3000)
    expect(notice).to_contain_text("No longer connected")
    expect(status).to_be_hidden()  # it is out of date
    expect(panel.locator(".lenet-controls")).to_have_attribute("inert", "")
    page.evaluate("model.emit('msg:custom', 'here')")
    expect(notice).to_be_empty()
    expect(status).to_have_text("Ready.")
    expect(panel.locator(".lenet-controls")).not_to_have_attribute("inert", "")


def test_silence_while_it_trains_is_noticed_without_a_click(panel, page, notice):
    train(page)
    for _ in range(5):
        page.clock.run_for(2000)
        page.evaluate("model.set({ message: 'Training. Epoch 1 of 2.' })")
    assert asked(page) == 0
    page.clock.run_for(8000)
    assert asked(page) == 1
    expect(notice).to_contain_text("No longer connected")


def test_a_busy_kernel_is_not_called_lost(panel, page, status, notice):
    page.evaluate("model.widget_manager = { kernel: { status: 'busy' } }")
    button(panel, "Train").click()
    page.clock.run_for(5000)
    expect(notice).to_contain_text("The kernel is busy with a cell")
    expect(status).to_be_visible()
    expect(panel.locator(".lenet-controls")).not_to_have_attribute("inert", "")
    page.evaluate("model.emit('msg:custom', 'here')")
    expect(notice).to_be_empty()


def test_a_training_that_goes_on_shows_that_the_kernel_is_only_busy(panel, page, notice):
    train(page)
    button(panel, "Stop").click()
    page.clock.run_for(2000)
    page.evaluate("model.set({ message: 'Training. Epoch 1 of 2.' })")
    page.clock.run_for(3000)
    expect(notice).to_contain_text("The kernel is busy with a cell")


def test_a_closed_connection_is_told_at_once(panel, page, notice):
    page.evaluate("() => { model.send = () => { throw new Error('Cannot send'); }; }")
    button(panel, "Train").click()
    expect(notice).to_contain_text("No longer connected")


def test_cleanup_stops_listening(panel, page, notice):
    page.evaluate("cleanup()")
    button(panel, "Train").click()
    page.clock.run_for(60_000)
    assert asked(page) == 0
    expect(notice).to_be_empty()
