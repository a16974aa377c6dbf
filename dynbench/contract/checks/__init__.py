"""The checks, in the order in which they are run: what is declared, training, evaluation, executors, and the rest."""

from dynbench.contract.checks import declared, evaluation, model, outside, skipping, training
from dynbench.contract.promise import Check

CHECKS = (
    Check("name", declared.name),
    Check("defaults", declared.defaults),
    Check("unsupported", declared.unsupported),
    Check("training", training.trains),
    Check("backbone", model.holds_the_backbone),
    Check("points", model.points),
    Check("gradients", training.gradients),
    Check("calibration", training.calibration),
    Check("loss", training.loss_takes_no_step),
    Check("seed", training.same_seed),
    Check("resume", training.resumes),
    Check("repeatable", evaluation.repeatable),
    Check("alone", evaluation.alone),
    Check("usage", evaluation.usage),
    Check("static", evaluation.static),
    Check("decisions", evaluation.decisions),
    Check("labels", evaluation.labels),
    Check("unchanged", model.unchanged),
    Check("restore", model.restores),
    Check("audit", skipping.audited),
    Check("batches", skipping.batches),
    Check("skipped weights", skipping.skipped_weights),
    Check("memory", outside.memory),
    Check("data", outside.data),
    Check("output", outside.output),
    Check("harness", outside.harness),
)
