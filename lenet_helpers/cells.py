"""A cell that runs again shows what it makes in place of what it made before."""

import weakref

import ipywidgets as widgets
from IPython import get_ipython

_made = weakref.WeakKeyDictionary()  # panels and explorers, with the cell and the execution that made each


def replace_earlier(shown):
    """Retire, by its ``_retire``, what earlier executions of the running cell have made: ``shown`` takes its place."""
    cell, execution = find_cell()
    for other, (its_cell, its_execution) in list(_made.items()):
        if cell is not None and its_cell == cell and its_execution != execution:
            other._retire()
    _made[shown] = cell, execution


def find_cell():
    """Return which cell is running, and which of its executions this is; (None, None) outside a notebook."""
    shell = get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None, None
    request = shell.get_parent()
    cell = request.get("metadata", {}).get("cellId") or request.get("content", {}).get("code")
    return cell, request.get("header", {}).get("msg_id")


def close(widget):
    """Close a widget, its children, and their layouts and styles."""
    for name in widget.keys:
        value = getattr(widget, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, widgets.Widget):
                close(part)
    widget.close()
