from pathlib import Path

from slurm_restart.submit.argv import OptionTable
from slurm_restart.submit.option import Argument, OptionHandling
from slurm_restart.submit.option_reference import reference
from slurm_restart.submit.option_rows import LEFT_TO_SBATCH, OWN, SBATCH

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "sbatch-options.md"


def test_the_page_is_the_table():
    assert PAGE.read_text() == reference(), (
        "python -m slurm_restart.submit.option_reference > the page"
    )


def test_names_are_unique_and_in_order():
    names = [option.name for option in SBATCH]
    assert names == sorted(names)
    every = [option.name for option in (*OWN, *SBATCH)]
    assert len(every) == len(set(every))
    shorts = [option.short for option in SBATCH if option.short]
    assert len(shorts) == len(set(shorts))
    variables = [name for option in SBATCH for name in option.variables] + [*LEFT_TO_SBATCH]
    assert len(variables) == len(set(variables))


def test_options_that_are_not_passed_have_a_note():
    for option in (*OWN, *SBATCH):
        assert option.note or option.handling is OptionHandling.PASSED, option.name


def test_excluded_options_exist():
    table = OptionTable()
    for option in SBATCH:
        assert set(option.excludes) <= set(table.by_name)


def test_the_site_adds_options():
    table = OptionTable(["container-image=", "flag"])
    assert table.by_name["container-image"].argument is Argument.REQUIRED
    assert table.by_name["flag"].argument is Argument.OPTIONAL
    assert table.by_name["flag"].handling is OptionHandling.PASSED


def test_the_beginning_of_a_name_means_all_that_begin_so():
    table = OptionTable()
    assert [option.name for option in table.named("part")] == ["partition"]
    assert [option.name for option in table.named("mem")] == ["mem"]
    assert {option.name for option in table.named("open")} == {"open-mode"}
    assert table.named("zz") == ()
