"""What a learner may do to the explorers at the wrong moment, in a real JupyterLab: they go on, or say what to do."""

import ast
import random
import re

import pytest
import torch
from playwright.sync_api import expect

from lenet_helpers.explorers.window import make_kernels

START = """
import comm
import torch
from lenet_helpers.explorers import *
from lenet_helpers.signals import make_dense_net, measure_signals, tell_ratio

def make_small_net():
    net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(144, 10))
    net[-1].weight.data *= 9  # its probabilities differ from image to image
    return net

torch.manual_seed(0)
net = make_small_net()
snapshots = [make_small_net().state_dict() for _ in range(3)]
X, y = next(iter(data[1]))
"""
CELLS = {
    "net": "look = explore_net(net, X, y)\nlook",
    "replay": "replay = explore_epochs(net, snapshots, [(X, y)], X[0])\nreplay",
    "shapes": "shapes = explore_shapes(X[0])\nshapes",
    "signals": "signals = explore_signals(X[:32], y[:32])\nsignals",
    "walk": "walk = explore_walk(net)\nwalk",
    "window": "window = explore_window(X[0])\nwindow",
}
COMMS = 'sum(one.target_name == "jupyter.widget" for one in comm.get_comm_manager().comms.values())'
NET_SAYS = """
probabilities = net(X[7:8]).softmax(1)[0]
winner = look.classes[probabilities.argmax()]
f"image 7: {look.classes[y[7]]} → the net says {winner} (probability {probabilities.max():.2f})"
"""
SIGNALS_SAY = """
torch.manual_seed(0)
gradients = [layer.gradient_rms for layer in measure_signals(make_dense_net("ReLU", "He", 9), X[:32], y[:32])]
tell_ratio(gradients[0], gradients[-1])
"""
REPLAY_SAYS = """
def tell(epoch):
    net.load_state_dict(snapshots[epoch])
    accuracy = (net(X).argmax(1) == y).double().mean()
    return f"After epoch {epoch + 1} of 3: accuracy {accuracy:.4f} on 256 images."

[tell(epoch) for epoch in range(3)]
"""


class Explored:
    """A notebook with an explorer in each of its cells, and a cell for questions to the kernel at its end."""

    def __init__(self, run_cells, file, *names):
        self.notebook = run_cells(file, START, *(CELLS[name] for name in names), COMMS)
        self.indices = {name: index for index, name in enumerate((*names, "question"), 2)}

    def __getitem__(self, name):
        return self.notebook.cell(self.indices[name]).locator(".lenet")

    def run(self, name):
        """Run the cell of an explorer: it is there once, and the cell shows nothing else."""
        self.notebook.run_cell(self.indices[name])
        expect(self[name]).to_have_count(1)
        expect(self.notebook.cell(self.indices[name]).locator(".jp-OutputArea-output")).to_have_count(1)

    def ask(self, code):
        """Return what the kernel says after it has heard what explorers keep until the learner rests for 80 ms."""
        self.notebook.page.evaluate("new Promise((done) => setTimeout(done, 100))")
        cell = self.notebook.cell(self.indices["question"])
        cell.locator(".cm-content").fill(code.strip())
        self.notebook.run_cell(self.indices["question"])
        return ast.literal_eval(cell.locator(".jp-OutputArea-output").inner_text())


def move_at_random(explorer, draw):
    """Use any control of an explorer, by key or by mouse, anywhere on it."""
    controls = explorer.locator("select, input:not([type=file]), button, canvas[tabindex]")
    controls = controls.and_(explorer.locator(":not(:disabled)")).filter(visible=True)
    control = controls.nth(draw.randrange(controls.count()))
    if draw.random() < 0.5 and control.evaluate("node => node.tagName") != "SELECT":  # whose list is the browser's own
        box = control.bounding_box()  # from border to border; a position is counted from within the border
        control.click(position={"x": draw.uniform(0, box["width"] - 2), "y": draw.uniform(0, box["height"] - 2)})
    else:
        control.press(draw.choice(["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "9"]))


def use_shapes(explored):
    shapes = explored["shapes"]
    shapes.get_by_role("combobox", name="layer").select_option("convolution")
    settings = {"size": 14, "kernel": 3, "padding": 1, "stride": 2, "dilation": 1, "input ch": 3, "output ch": 16}
    for name, value in settings.items():
        shapes.get_by_role("slider", name=name).fill(str(value))
    expect(shapes.locator("[data-name='output shape']")).to_have_text("(1, 16, 7, 7)")
    expect(shapes.locator("[data-name=parameters]")).to_have_text("448")
    expect(shapes.locator(".code")).to_contain_text("Conv2d(3, 16, kernel_size=3, stride=2, padding=1, dilation=1)")
    shown = tuple(int(shapes.get_attribute(f"data-{name}")) for name in ("row", "col"))
    assert explored.ask("shapes.layer.output_shape, shapes.row, shapes.col") == ((1, 16, 7, 7), *shown)


def use_net(explored):
    says = explored.ask(NET_SAYS)
    explored["net"].get_by_role("spinbutton", name="image 0–255").fill("7")
    expect(explored["net"].get_by_role("status", name="shown image")).to_have_text(says)
    assert explored.ask("look.index, bool((look.activations()[-1] - net(X[7:8])[0]).abs().max() < 1e-4)") == (7, True)
    expect(explored["net"].get_by_role("status", name="shown image")).to_have_text(says)


def use_signals(explored):
    says = explored.ask(SIGNALS_SAY)
    explored["signals"].get_by_role("combobox", name="activation").select_option("ReLU")
    explored["signals"].get_by_role("combobox", name="init").select_option("He")
    for depth in (3, 9):
        explored["signals"].get_by_role("slider", name="hidden layers").fill(str(depth))
        expect(explored["signals"].get_by_role("row")).to_have_count(depth + 2)
    expect(explored["signals"].get_by_role("status")).to_have_text(says)


def answer(walk, shape, parameters):
    walk.get_by_label("output shape of net[0] ").fill(shape)
    walk.get_by_label("parameters of net[0] ").fill(parameters)
    walk.get_by_label("parameters of net[0] ").press("Enter")


def use_walk(explored):
    answer(explored["walk"], "1, 4, 28, 28", "104")
    expect(explored["walk"]).to_contain_text("✗ Shape: Height and width")
    answer(explored["walk"], "1, 4, 24, 24", "104")
    expect(explored["walk"]).to_contain_text("✓ Shape: right.")
    expect(explored["walk"].get_by_role("status")).to_have_text("1 of 5 right, with 104 parameters.")


def use_window(explored, sums):
    """Move the window by mouse and by key: the sum is that of PyTorch."""
    image = explored["window"].get_by_role("application", name=re.compile("^image"))
    image.click(position={"x": 100, "y": 84})
    image.press("ArrowDown")
    row, col = (int(explored["window"].get_attribute(f"data-{name}")) for name in ("row", "col"))
    assert row > 3 and col > 3
    told = f"output[{row}, {col}] = {sums[row, col]:.3f}".replace("-", "−")
    expect(explored["window"].get_by_role("status")).to_contain_text(told)


def use_replay(explored, says):
    status = explored["replay"].get_by_role("status")
    for epoch in (1, 3, 2):
        explored["replay"].get_by_role("slider", name="epoch").fill(str(epoch))
        expect(status).to_have_text(says[epoch - 1])
    explored["replay"].get_by_role("button", name="Play").click()
    expect(status).not_to_have_text(says[1])


@pytest.mark.fault("panel and explorers", "controls of explorers used at random")
@pytest.mark.fault("panel and explorers", "cell run again ten times")
def test_hasty_hands_leave_one_explorer_that_is_right(run_cells):
    explored = Explored(run_cells, "explorers", "shapes", "net", "signals")
    draw, comms = random.Random(0), explored.ask(COMMS)
    for _ in range(30):
        for name in ("shapes", "net", "signals"):
            move_at_random(explored[name], draw)
    for use in (use_shapes, use_net, use_signals):
        use(explored)
    for _ in range(10):
        for name in ("net", "signals"):
            explored.run(name)
            move_at_random(explored[name], draw)  # and the kernel has not heard of it when the cell runs again
    for use in (use_net, use_signals):
        use(explored)
    assert explored.ask(COMMS) == comms
    expect(explored.notebook.errors).to_have_count(0)


# Press a key, rest just long enough for the kernel to be told, and press it again before it has answered.
TAP = """
([canvas, explorer]) => new Promise((done) => {
    const rows = [];
    const timer = setInterval(() => {
        rows.push(Number(explorer.dataset.row));
        if (rows.length > 20) {
            clearInterval(timer);
            done(rows);
        } else canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
    }, 90);
})
"""


@pytest.mark.fault("panel and explorers", "explorer used while the kernel answers")
def test_an_answer_of_the_kernel_does_not_undo_what_the_learner_has_done_since(run_cells):
    explored = Explored(run_cells, "answers", "shapes", "window")
    for name in ("shapes", "window"):
        canvas = explored[name].get_by_role("application").last
        canvas.click(position={"x": 60, "y": 2})
        rows = canvas.evaluate(f"(canvas) => ({TAP})([canvas, canvas.closest('.lenet')])")
        assert rows == list(range(21)), name
        assert explored.ask(f"{name}.row") == 20


@pytest.mark.fault("panel and explorers", "page reload while explorers are shown")
@pytest.mark.fault("panel and explorers", "kernel restart")
def test_explorers_live_through_a_reload_and_say_what_to_do_after_a_restart(run_cells, page, fashion):
    complaints, names = [], ("walk", "signals", "window", "replay")
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    explored = Explored(run_cells, "reload", *names)
    notebook, comms, says = explored.notebook, explored.ask(COMMS), explored.ask(REPLAY_SAYS)
    sums = torch.conv2d(fashion[0][:1], make_kernels()["vertical edges"][None, None])[0, 0]

    def use_all():
        use_walk(explored)
        use_signals(explored)
        use_window(explored, sums)
        use_replay(explored, says)

    use_all()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    notebook.wait_for_kernel()
    for name in names:
        expect(explored[name]).to_have_count(1)
    expect(explored["walk"].get_by_role("status")).to_have_text("1 of 5 right, with 104 parameters.")
    expect(explored["signals"].get_by_role("slider")).to_have_value("9")
    use_all()
    for name in names:
        explored.run(name)
    use_all()
    assert explored.ask(COMMS) == comms

    with page.expect_response(re.compile("/restart")):
        notebook.restart_kernel()
    notebook.wait_for_kernel()
    answer(explored["walk"], "1, 4, 28, 28", "104")
    expect(explored["walk"]).to_contain_text("if it has stopped, run this cell again")
    explored["signals"].get_by_role("slider").press("ArrowLeft")
    expect(explored["signals"].get_by_role("status")).to_contain_text("run this cell again")
    use_window(explored, sums)
    explored["replay"].get_by_role("button", name="Pause").click()  # it has gone on playing
    use_replay(explored, says)
    notebook.run_all()
    use_all()
    expect(notebook.errors).to_have_count(0)
    assert [text for text in complaints if re.search("widget|blob:", text)] == []
