# Aliases; each command makes and enters .venv by itself.
PYTHON ?= python3

.PHONY: run test lint bench soak
run test lint bench soak:
	@$(PYTHON) manage.py $(if $(filter run,$@),up,$@) $(ARGS)
