# Two commands do everything: `make lab` to learn, `make test` to check. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help lab test notebooks lint figures film seeds ablation data constraints clean

help:  ## list the commands
	@awk -F ':.*## *' '/^[a-z]+:.*##/ {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: data  ## set up, and open JupyterLab on the first notebook
	$(BIN)/python tools/open_lab.py

test: data  ## set up, and run every test: units, browser, notebooks
	$(BIN)/python -m pytest --nbval $(ARGS)

notebooks: data  ## run every notebook and store its outputs
	$(BIN)/python tools/refresh_notebooks.py $(ARGS)

lint: $(READY)  ## check style and layout of code and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

figures: data  ## draw the pictures in img/
	$(BIN)/python tools/draw_figures.py

film: data  ## film the train panel for the README; needs Chromium
	$(BIN)/python tools/film_panel.py

seeds: data  ## train LeNet with five seeds; writes benchmarks/seeds.json
	$(BIN)/python tools/run_seeds.py

ablation: data  ## train the recipes of notebook 07 with five seeds each (hours; resumable); writes benchmarks/ablation.json
	$(BIN)/python benchmarks/ablation.py $(ARGS)

data: $(READY)  ## find Fashion-MNIST, or get it
	@$(BIN)/python -c "from lenet_helpers.data import find_data; print(*find_data().values(), sep='\n')"

constraints: $(READY)  ## write down the versions that are installed and tested here
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:  ## remove the virtual environment
	rm -rf $(VENV)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $(READY)
