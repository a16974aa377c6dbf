"""A suite is planned in another process first, where a plugin is asked for the first time: it may hang or end it."""

from dynbench.errors import UserError
from dynbench.isolate.call import call, is_supervised
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.plan.configuration import by_configuration
from dynbench.registry import find, load_method, try_import
from dynbench.suite.locate import Locator
from dynbench.suite.schema import SuiteFile


def rehearse(file: SuiteFile, locator: Locator) -> None:
    """Do everything that planning does with plugins, in a process under the limits of planning.

    dynbench's own methods need none. Raises UserError, with file and line, when one hangs or ends the process; every
    other problem occurs again later, where the message can be better.
    """
    if is_supervised():
        return
    strange = [index for index, entry in enumerate(file.methods) if not find(entry.name).is_own]
    for index in strange:
        _try(file, locator, index)


def _try(file: SuiteFile, locator: Locator, index: int) -> None:
    entry, at = file.methods[index], locator.at(("methods", index, "name"))
    try:
        try_import(entry.name, file.limits)
        call(_plan, file, index, limits=file.limits.while_planning, answers=_goes_on)
    except ChildEnded as error:
        raise UserError(f'{at}: method "{entry.name}" cannot be planned: {error}') from error
    except UserError as error:
        raise UserError(f"{at}: {error}") from error


def _goes_on(_: object) -> None: ...


def _plan(ask: Ask, file: SuiteFile, index: int) -> None:
    """In the child: plan one entry, and ask what is asked of its runs later."""
    from dynbench.plan.expand import Suite, expand_suite

    alone = file.model_copy(update={"methods": (file.methods[index],)})
    try:
        runs = expand_suite(Suite(alone, Locator("suite", None)))
        for configuration in by_configuration(runs):
            ask(configuration.run.epochs)
            load_method(configuration.run.method)
    except Exception:  # a plugin may raise anything; it does so again
        return
