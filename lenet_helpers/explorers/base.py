"""What every explorer shares: its script and style, and a still picture for readers without a kernel."""

import base64
import io
from pathlib import Path

import anywidget
from IPython import get_ipython

from lenet_helpers.cells import close, replace_earlier
from lenet_helpers.language import SpeakingWidget, _, speaking

HERE = Path(__file__).parent


def read_script(name):
    """Return the JavaScript module ``name`` with ``language.js`` and the shared helpers of ``common.js`` before it.

    A widget's module is sent to the page as one text, so it cannot import a neighbouring file.
    """
    paths = (HERE.parent / "language.js", HERE / "common.js", HERE / name)
    return "".join(path.read_text(encoding="utf-8") for path in paths)


def read_style(name):
    """Return the style sheet ``name`` with the shared one in front of it."""
    return (HERE / "common.css").read_text(encoding="utf-8") + (HERE / name).read_text(encoding="utf-8")


def to_png(figure):
    """Return the PNG bytes of a matplotlib Figure, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


class Explorer(SpeakingWidget, anywidget.AnyWidget):
    """A widget whose cell also stores a picture, which GitHub and untrusted notebooks show.

    A subclass sets ``_esm`` and ``_css`` by ``read_script`` and ``read_style``, and defines ``figure()`` and
    ``tell()``. Pictures are drawn in English, whose letters every font has. A cell that runs again closes the explorers
    that it made before: their numbers can still be read, but no page shows them.
    """

    def __init__(self, **state):
        super().__init__(**state)
        replace_earlier(self)

    def _retire(self):
        """Leave the page, the kernel, and IPython's ``Out``, which would keep all images."""
        close(self)
        shell = get_ipython()
        outputs = getattr(shell, "user_ns", {}).get("_oh", {})
        for number in [number for number, output in outputs.items() if output is self]:
            del outputs[number]
            shell.del_var(f"_{number}", by_name=True)

    def figure(self):
        """Return a matplotlib Figure of the present state."""
        raise NotImplementedError

    def tell(self):
        """Return one line that says what the widget shows, the same on every run."""
        raise NotImplementedError

    def summary(self):
        """Return what the widget tells after its name, in its language: the text in place of the picture."""
        with speaking(self.language):
            return _("{name}: {message}").format(name=type(self).__name__, message=self.tell())

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        data["text/plain"] = self.summary()
        data["image/png"] = base64.b64encode(to_png(self.figure())).decode()
        return data, metadata
