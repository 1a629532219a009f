# Two commands do everything: `make lab` to learn, `make test` to check. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help lab test long-use coverage mutants notebooks translate catalogue lint figures film faults site export slides handout seeds ablation bench bench-class data constraints clean

help:  ## list the commands
	@awk -F ':.*## *' '/^[a-z-]+:.*##/ {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: data  ## set up, and open JupyterLab on the first notebook
	$(BIN)/python tools/open_lab.py

test: data  ## set up, and run every test: units, browser, notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

long-use: data  ## 200 trainings in one kernel and 500 images in one page: does anything pile up? (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long_use tests $(ARGS)

coverage: data  ## which lines and branches of lenet_helpers do the tests without a browser run? (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -p no:xdist tests --ignore tests/browser --ignore tests/test_site_page.py $(ARGS)
	$(BIN)/python -m coverage report

mutants: data  ## change lenet_helpers in thousands of places: do the tests notice? (hours; resumable)
	LENET_DATA=$${LENET_DATA:-$(CURDIR)/data} OMP_NUM_THREADS=1 $(BIN)/python -m mutmut run --max-children 2 $(ARGS)
	$(BIN)/python -m mutmut results
	$(BIN)/python tools/count_mutants.py

notebooks: data  ## run every notebook and store its outputs
	$(BIN)/python tools/refresh_notebooks.py $(ARGS)

translate: $(READY)  ## bring notebooks/zh up to date with notebooks/en; list what is to be translated
	$(BIN)/python tools/translate.py

catalogue: $(READY)  ## collect the texts of checks and widgets for translation, and compile them
	$(BIN)/python tools/catalogue.py

lint: $(READY)  ## check style and layout of code and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

figures: data  ## draw the pictures in img/
	$(BIN)/python tools/draw_figures.py

film: data  ## film the train panel for the README; needs Chromium
	$(BIN)/python tools/film_panel.py

faults: $(READY)  ## write the fault matrix into tests/README.md
	$(BIN)/python tools/list_faults.py

site: data  ## build the web pages of both editions in build/site
	$(BIN)/python tools/publish.py site

NOTEBOOK ?= notebooks/en/01_build_the_encoder.ipynb

export: $(READY)  ## write NOTEBOOK=... as one page that is ready to print, in build/export
	$(BIN)/python tools/publish.py export $(NOTEBOOK)

slides: $(READY)  ## write slides of NOTEBOOK=..., in build/slides
	$(BIN)/python tools/publish.py slides $(NOTEBOOK)

handout: $(READY)  ## write the notebooks without solutions, in build/handout
	$(BIN)/python tools/handout.py

seeds: data  ## train LeNet with five seeds; writes benchmarks/seeds.json
	$(BIN)/python tools/run_seeds.py

ablation: data  ## train the recipes of notebook 07 with five seeds each (hours; resumable); writes benchmarks/ablation.json
	$(BIN)/python benchmarks/ablation.py $(ARGS)

bench: data  ## measure speed and memory against d2l on a quiet machine (under 20 minutes); writes benchmarks/bench.json
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-class: data  ## measure a class on this machine when it is quiet; writes benchmarks/class.json and docs/servers*.md
	$(BIN)/python benchmarks/classroom.py $(ARGS)

data: $(READY)  ## find Fashion-MNIST, or get it
	@$(BIN)/python -c "from lenet_helpers.data import find_data; print(*find_data().values(), sep='\n')"

constraints: $(READY)  ## write down the versions that are installed and tested here
	$(BIN)/python -m pip freeze --all --exclude pip --exclude-editable > constraints.txt

clean:  ## remove the virtual environment
	rm -rf $(VENV)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[site,test]'
	touch $(READY)
